"""A verified bundle's model, brought to the models' directory: whole under its final name or not reachable at all.

Telling the registry is left to the caller.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ops.bundle import layout
from ops.bundle.copying import copy_file, publish, require_space
from ops.bundle.errors import CannotImport
from ops.bundle.verify import Bundle
from ops.models import manifest
from ops.slots.files import exclusive


def bring(bundle: Bundle, cache_dir: Path) -> Path:
    """Copy the model to cache_dir/models/<name>-<digest12> and return that path. One that is there already stays as it is.

    Raises: CannotImport, NotEnoughSpace; OSError of the disk.
    """
    models = cache_dir / "models"
    models.mkdir(parents=True, exist_ok=True)
    final = models / bundle.about.directory_name
    with exclusive(models / f".{final.name}.lock", lambda: None):
        if final.exists() or final.is_symlink():
            _require_same(final, bundle)
        else:
            _copy(bundle, final)
    return final


def _require_same(final: Path, bundle: Bundle) -> None:
    problems = ["a link"] if final.is_symlink() else manifest.verify(final)
    if not problems and manifest.read(final).digest != bundle.about.digest:
        problems = ["another model"]
    if problems:
        raise CannotImport(
            f"{final} is damaged ({'; '.join(problems[:3])}): withdraw the model, remove the directory and import again"
        )


def _copy(bundle: Bundle, final: Path) -> None:
    needed = max(bundle.model_bytes, bundle.about.requirements.free_disk_bytes)
    fresh = final.with_name(f".{final.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)  # of an import that was killed; the lock says it is not running
    require_space(final.parent, needed, "the model")
    try:
        _fill(bundle, fresh)
        publish(fresh, final)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # gone by then where it got its final name


def _fill(bundle: Bundle, fresh: Path) -> None:
    for target in bundle.model:
        copy = fresh / target.path.removeprefix(f"{layout.MODEL}/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Hashed again on the way: the disk may have been changed since it was verified.
        if copy_file(bundle.path / layout.target_path(target.path), copy) != target.sha256:
            raise CannotImport(f"{target.path} changed while it was copied: is the disk sound?")
    problems = manifest.verify(fresh)
    if problems or manifest.read(fresh).digest != bundle.about.digest:
        raise CannotImport("the copy is not the bundle's model: " + "; ".join(problems or ["another manifest"]))
