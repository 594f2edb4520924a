"""Writes the merged model beside its place and renames it there once it is whole. Runs inside an engine slot.

The weights are copied tensor by tensor: what the adapter changes is recomputed, all else goes over as it is, and the
files keep their names, headers and order. The base's digests are checked on the way, since every byte is read anyhow.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from finetune import files, manifest
from finetune.merge import room
from finetune.merge.errors import CannotMerge
from finetune.merge.lora import Lora
from finetune.merge.shard import Tensor, read_header

_PIECE_BYTES = 4 * 1024 * 1024
_WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class MergeSpec:
    """Which two are merged, each with the digest of its manifest, and where to."""

    base: Path
    base_digest: str
    adapter: Path
    adapter_digest: str
    out: Path
    name: str

    @classmethod
    def of(cls, content: dict[str, Any]) -> MergeSpec:
        """Read a specification."""
        return cls(
            Path(content["base"]), content["base_digest"], Path(content["adapter"]), content["adapter_digest"],
            Path(content["out"]), content["name"],
        )  # fmt: skip


def build(spec: MergeSpec) -> manifest.Manifest:
    """Merge, whole or not at all.

    Raises: MergeError.
    """
    base = _registered(spec.base, spec.base_digest)
    _registered(spec.adapter, spec.adapter_digest)
    faults = manifest.verify(spec.adapter)
    if faults:
        raise CannotMerge(f"the adapter is not whole: {'; '.join(faults[:3])}")
    room.require(spec.out.parent, sum(file.size_bytes for file in base.files))
    made = spec.out.with_name(f".{spec.out.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    try:
        made.mkdir(mode=0o700)
        lora = Lora(spec.adapter)
        for file in base.files:
            _copy(spec.base, made, file, lora)
        if lora.left:
            raise CannotMerge(f"the base model does not have {', '.join(sorted(lora.left)[:3])}")
        origin = f"merged: base {spec.base_digest} adapter {spec.adapter_digest}"
        manifest.write(made, name=spec.name, origin=origin, licence=base.licence)
        shutil.rmtree(spec.out, ignore_errors=True)
        made.rename(spec.out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    files.sync_directory(spec.out.parent)
    return manifest.read(spec.out)


def _registered(path: Path, digest: str) -> manifest.Manifest:
    try:
        found = manifest.read(path)
    except manifest.NotWhole as error:
        raise CannotMerge(str(error)) from error
    if found.digest != digest:
        raise CannotMerge(f"{path / manifest.FILE_NAME} is not the one that was registered")
    return found


def _copy(base: Path, made: Path, file: manifest.File, lora: Lora) -> None:
    """One file of the base, its digest checked."""
    source, target = base / file.path, made / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reading, target.open("xb") as writing:
        passing = _Passing(reading, writing)
        if file.path.endswith(_WEIGHTS):
            _copy_weights(passing, source, lora)
        else:
            passing.rest()
    if passing.sha256 != file.sha256:
        raise CannotMerge(f"{source} was changed since it was registered")


def _copy_weights(passing: _Passing, source: Path, lora: Lora) -> None:
    header = read_header(passing.reading, source)
    passing.took(header.raw)
    passing.writing.write(header.raw)
    for tensor in header.tensors:
        if lora.adapts(tensor):
            passing.writing.write(lora.merged(tensor, _whole(passing, tensor, source)))
        else:
            passing.over(tensor.num_bytes)
    passing.rest()


def _whole(passing: _Passing, tensor: Tensor, source: Path) -> bytearray:
    content = bytearray(tensor.num_bytes)
    if passing.reading.readinto(content) != len(content):  # type: ignore[attr-defined]
        raise CannotMerge(f"{source} is cut short")
    passing.took(content)
    return content


class _Passing:
    """Bytes on their way from one file to another, and the digest of those that were read."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO) -> None:
        self.reading = reading
        self.writing = writing
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def took(self, content: bytes | bytearray) -> None:
        self._digest.update(content)

    def over(self, num_bytes: int) -> None:
        """Copy that many bytes, or as many as there are."""
        left = num_bytes
        while left and (piece := self.reading.read(min(left, _PIECE_BYTES))):
            self.took(piece)
            self.writing.write(piece)
            left -= len(piece)

    def rest(self) -> None:
        """Copy what is left."""
        while piece := self.reading.read(_PIECE_BYTES):
            self.took(piece)
            self.writing.write(piece)
