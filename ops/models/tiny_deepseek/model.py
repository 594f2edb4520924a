"""Where the demo and tests get the tiny DeepSeek-V2 model: built once per version of its recipe, shared through the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from ops.models import manifest
from ops.slots.files import exclusive

RECIPE = Path(__file__).with_name("build.py")
SEEDED = Path(__file__).with_name("build_seeded.py")
NAME = "tiny-deepseek-v2"


def ensure_tiny_deepseek(cache_dir: Path, slot_python: Path, seed: int | None = None) -> Path:
    """Return the model's directory below `<cache_dir>/models`, building it where it is missing (about 10 s).

    With a seed it is another version: the same shape, other weights, in a directory of its own.
    """
    models = cache_dir / "models"
    version = hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:12]
    target = models / (f"{NAME}-{version}" if seed is None else f"{NAME}-{version}-{seed}")
    with exclusive(models / f".{target.name}.lock", lambda: None):
        if manifest.verify(target, sizes_only=True):
            _build(target, slot_python, seed)
    return target


def _build(target: Path, slot_python: Path, seed: int | None) -> None:
    fresh = target.with_name(f".{target.name}.new")
    for leftover in (fresh, target):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir()
    script = [str(RECIPE), str(fresh)] if seed is None else [str(SEEDED), str(fresh), str(seed)]
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    built = subprocess.run(
        [str(slot_python), "-I", *script],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | offline,
    )
    if built.returncode != 0:
        raise RuntimeError(f"the tiny model could not be built:\n{built.stderr}")
    manifest.write(fresh, name=NAME, origin="random weights, made for the demo and tests", licence="none")
    fresh.rename(target)
