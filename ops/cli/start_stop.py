"""`coderack start` and `stop`: the same as `up`, in the background."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import typer

from appliance.env import REPO, Env, EnvError, load
from ops.cli.printing import AsJson, Exit, fail, progress_aside, show_done, show_json
from ops.cli.surroundings import prepare_directories
from ops.runner.errors import RunnerError
from ops.runner.runner import end_leftovers, runner_pid
from ops.runner.sweep import end_engines

STOP_TIMEOUT_S = 45.0


def start(as_json: AsJson = False) -> None:
    """Start the appliance in the background; returns once a streamed answer came."""
    env = _environment()
    if (pid := runner_pid(env.run_dir)) is not None:
        raise fail(f"the appliance is already running (pid {pid}); `make stop` ends it", Exit.ALREADY_RUNNING)
    began = time.time()
    log = env.log_dir / f"runner.{os.getpid()}.log"  # a second start at this very moment has its own
    with log.open("w+b") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli.main", "up", "--give-up"], cwd=REPO, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        with progress_aside(as_json):
            _follow(process, log, env, began)
    except typer.Exit as ended:
        if ended.exit_code == Exit.ALREADY_RUNNING:
            log.unlink()  # the runner that holds the lock has runner.log
            raise
        log.rename(env.log_dir / "runner.log")
        raise
    log.rename(env.log_dir / "runner.log")
    if as_json:
        show_json(json.loads(env.ready_file.read_text(encoding="utf-8")))


def _follow(process: subprocess.Popen[bytes], log: Path, env: Env, began: float) -> None:
    """Print what the runner prints until it is ready or gone."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        while True:
            _print_new(lines.read())
            if _is_newer(env.ready_file, began):
                time.sleep(0.2)
                _print_new(lines.read())
                return
            if process.poll() is not None:
                rest = lines.read()
                _print_new(rest)
                raise typer.Exit(process.returncode or int(Exit.FAILED))
            time.sleep(0.1)


def _is_newer(path: Path, began: float) -> bool:
    """Whether a file was written since; a killed runner may have left an older one."""
    try:
        return path.stat().st_mtime >= began
    except FileNotFoundError:
        return False


def _print_new(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def stop(as_json: AsJson = False) -> None:
    """Drain and end everything; fine when nothing runs."""
    env = _environment()
    pid = runner_pid(env.run_dir)
    if pid is None:
        leftovers = end_leftovers(env.run_dir)
        engines = end_engines(env.run_dir)
        env.ready_file.unlink(missing_ok=True)
        show_done(
            {"stopped": False, "leftovers": leftovers, "engines": engines},
            as_json,
            f"ended what a killed runner left: {', '.join(leftovers)}; {engines} engines"
            if leftovers or engines
            else "nothing runs",
        )
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while runner_pid(env.run_dir) is not None:
        if time.monotonic() > deadline:
            raise fail(
                f"the runner (pid {pid}) did not end in {STOP_TIMEOUT_S:.0f} s; see {env.log_dir / 'runner.log'}"
            )
        time.sleep(0.1)
    show_done({"stopped": True, "leftovers": [], "engines": 0}, as_json, "stopped")


def _environment() -> Env:
    try:
        env = load()
        prepare_directories(env)
    except (EnvError, RunnerError) as error:
        raise fail(str(error)) from None
    return env
