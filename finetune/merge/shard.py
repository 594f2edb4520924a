"""A safetensors file as it lies on the disk: a header that says where each tensor is, then the tensors, without gaps.

Standard library only, and nothing larger than a tensor is ever in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from finetune.merge.errors import CannotMerge

MAX_HEADER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Tensor:
    """One tensor's name, element type (`BF16` …), shape, and its bytes' place behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def num_bytes(self) -> int:
        """How long it is."""
        return self.end - self.begin


@dataclass(frozen=True)
class Header:
    """The header's bytes, its length field included, and the tensors in the order in which they lie."""

    raw: bytes
    tensors: tuple[Tensor, ...]


def read_header(file: BinaryIO, path: Path) -> Header:
    """Read the header; the file then stands at the first tensor.

    Raises: CannotMerge when it is no safetensors file, or one with gaps.
    """
    length = file.read(8)
    size = int.from_bytes(length, "little")
    if len(length) != 8 or not 0 < size <= MAX_HEADER_BYTES:
        raise CannotMerge(f"{path} is no safetensors file")
    text = file.read(size)
    try:
        tensors = tuple(sorted(_tensors(json.loads(text)), key=lambda tensor: (tensor.begin, tensor.end)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CannotMerge(f"{path} is no safetensors file: {error}") from error
    place = 0
    for tensor in tensors:
        if tensor.begin != place or tensor.end < tensor.begin:
            raise CannotMerge(f"{path}: {tensor.name} does not lie where the one before it ends")
        place = tensor.end
    if place != path.stat().st_size - 8 - size:
        raise CannotMerge(f"{path} is cut short or has something behind its tensors")
    return Header(length + text, tensors)


def _tensors(header: dict[str, dict[str, object]]) -> Iterator[Tensor]:
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (int(offset) for offset in entry["data_offsets"])  # type: ignore[attr-defined]
            shape = tuple(int(size) for size in entry["shape"])  # type: ignore[attr-defined]
            yield Tensor(name, str(entry["dtype"]), shape, begin, end)
