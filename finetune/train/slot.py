"""How a module of ours is started with a slot's Python: its command line and its whole environment.

Standard library only: this is the control plane's side.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
# The only things it gets from our own environment: secrets such as DATABASE_URL must never be among them.
PASSED_ON = ("LD_LIBRARY_PATH", "CUDA_HOME", "TZ")


def command(slot_python: Path, module: str, spec: Path) -> list[str]:
    """The argv that runs `module` on a specification and ends with this process.

    `-P`: the working directory, where data lies, is not searched for modules. `-s`: nor is a home.
    """
    return [str(slot_python), "-P", "-s", "-m", module, "--spec", str(spec), "--parent", str(os.getpid())]


def environment(slot_python: Path, home: Path, threads: int | None) -> dict[str, str]:
    """The whole environment: offline, quiet, repeatable, with a home and temporary files of its own."""
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    limited = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return inherited | limited | {
        "PATH": f"{slot_python.parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(REPO),
        "PYTHONUNBUFFERED": "1",  # the last lines of a log say why a process died
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_WAIT_POLICY": "PASSIVE",  # virtual CPU devices share cores: a waiting thread must not spin on one
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(home),
        "HF_HOME": str(home / ".cache"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS repeats its results only with a workspace of fixed size
    }  # fmt: skip


def run(
    argv: list[str],
    environment: dict[str, str],
    log: Path,
    timeout_s: float,
    on_start: Callable[[Callable[[], None]], None],
) -> tuple[bytes, int]:
    """What a process printed, and its exit status. Its messages for people are appended to `log`.

    It works in its own home and ends with the thread that calls this; `on_start` is given what ends it before its time.
    Raises: OSError; subprocess.TimeoutExpired.
    """
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            argv, env=environment, cwd=environment["HOME"], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
        ) as process,
    ):  # fmt: skip
        try:
            on_start(process.kill)
            printed, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    return printed, process.returncode
