"""A signed bundle of one verified model directory, whole under its name or not there at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ops.bundle import about, layout
from ops.bundle.about import About, Requirements
from ops.bundle.copying import copy_file, publish, require_space, write_file
from ops.bundle.errors import CannotBuild
from ops.bundle.keys import Keys, take_version
from ops.bundle.names import is_name, path_faults
from ops.bundle.signing import Target, sign_targets
from ops.models import manifest
from ops.models.manifest import Manifest
from ops.slots.files import exclusive


@dataclass(frozen=True)
class Wanted:
    """What the builder says about the model. Without a name the manifest's is taken."""

    name: str = ""
    preset: str = ""
    max_model_len: int = 4096
    fim: bool = False
    engine_flavour: str | None = None
    engine_version: str | None = None


def build(out: Path, keys: Keys, model: Path, wanted: Wanted, *, now: datetime, lifetime: timedelta) -> About:
    """Write a bundle of the model to `out`, which must not exist.

    Raises: CannotBuild, BadKeys, NotEnoughSpace; OSError of the disk. Nothing is left under `out` then.
    """
    if out.exists() or out.is_symlink():
        raise CannotBuild(f"{out} exists: choose a new directory, bundles are never changed")
    if not out.parent.is_dir():
        raise CannotBuild(f"{out.parent} is no directory: make it, or mount the disk")
    if keys.root_expires <= now:
        raise CannotBuild(
            f"the root of these keys expired on {keys.root_expires:%Y-%m-%d}: nobody would accept the bundle"
        )
    listed = _verified(model)
    described = _describe(listed, wanted, now)
    with exclusive(keys.directory / ".lock", lambda: None), _fresh(out) as fresh:
        require_space(out.parent, described.requirements.free_disk_bytes, "the bundle")
        targets = [*_copy_model(model, listed, fresh), _write_about(fresh, described)]
        _write_metadata(fresh, keys, targets, now + lifetime)
        publish(fresh, out)
    return described


def _verified(model: Path) -> Manifest:
    problems = manifest.verify(model)
    if problems:
        raise CannotBuild(f"{model} is no verified model:\n  " + "\n  ".join(problems))
    listed = manifest.read(model)
    faults = path_faults(file.path for file in listed.files)
    if faults:
        raise CannotBuild(
            "these files can't be carried; rename them and write the manifest anew:\n  " + "\n  ".join(faults)
        )
    return listed


def _describe(listed: Manifest, wanted: Wanted, now: datetime) -> About:
    described = About(
        name=wanted.name or listed.name,
        digest=listed.digest,
        preset=wanted.preset,
        max_model_len=wanted.max_model_len,
        fim=wanted.fim,
        licence=listed.licence,
        origin=listed.origin,
        created_at=now.isoformat(timespec="seconds"),
        requirements=Requirements(
            sum(file.size_bytes for file in listed.files), wanted.engine_flavour, wanted.engine_version
        ),
    )
    try:
        return about.parse(about.dump(described))
    except ValueError as error:
        hint = "" if is_name(described.name) else "; give a plain one with --name"
        raise CannotBuild(f"the bundle can't be described so: {error}{hint}") from None


@contextmanager
def _fresh(out: Path) -> Iterator[Path]:
    """The directory a bundle grows in, removed when it does not come to its end. The lock says that no other build has it."""
    fresh = out.with_name(f".{out.name}.building")
    shutil.rmtree(fresh, ignore_errors=True)  # of a build that was killed
    for path in (fresh, fresh / layout.METADATA, fresh / layout.TARGETS, fresh / layout.TARGETS / layout.MODEL):
        path.mkdir()
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # gone by then where it got its final name


def _copy_model(model: Path, listed: Manifest, fresh: Path) -> Iterator[Target]:
    top = fresh / layout.TARGETS / layout.MODEL
    for file in listed.files:
        (top / file.path).parent.mkdir(parents=True, exist_ok=True)
        if copy_file(model / file.path, top / file.path) != file.sha256:
            raise CannotBuild(f"{model / file.path} changed while it was copied")
        yield Target(f"{layout.MODEL}/{file.path}", file.size_bytes, file.sha256)
    if copy_file(model / manifest.FILE_NAME, top / manifest.FILE_NAME) != listed.digest:
        raise CannotBuild(f"{model / manifest.FILE_NAME} changed while it was copied")
    size = (top / manifest.FILE_NAME).stat().st_size
    yield Target(f"{layout.MODEL}/{manifest.FILE_NAME}", size, listed.digest)


def _write_about(fresh: Path, described: About) -> Target:
    content = about.dump(described)
    write_file(fresh / layout.target_path(layout.ABOUT), content)
    return Target(layout.ABOUT, len(content), hashlib.sha256(content).hexdigest())


def _write_metadata(fresh: Path, keys: Keys, targets: list[Target], expires: datetime) -> None:
    write_file(fresh / layout.metadata_path("root", keys.root_version), keys.root)
    for path, content in sign_targets(targets, keys.online, take_version(keys), expires).items():
        write_file(fresh / path, content)
