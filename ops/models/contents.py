"""What may lie in a model directory: weights that are only numbers, settings that are only data, texts for people.

Pickles can run code when they are loaded, and so can Python files that a configuration's `auto_map` points to; both are
refused here, before an engine ever sees the directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ALLOWED_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".txt"})
ALLOWED_NAMES = frozenset({"LICENSE", "LICENSE-MODEL", "LICENSE-CODE", "NOTICE", "tokenizer.model"})
MAX_HEADER_BYTES = 100 * 1024 * 1024  # the safetensors library's own limit


def files_of(directory: Path) -> list[Path]:
    """Every file below the directory, relative and sorted, links included as they are."""
    found = []
    for parent, directories, names in os.walk(directory):
        linked = [name for name in directories if (Path(parent) / name).is_symlink()]
        found += [(Path(parent) / name).relative_to(directory) for name in [*names, *linked]]
    return sorted(found)


def refusals(directory: Path) -> Iterator[str]:
    """Say of each file that must not be there why not."""
    for path in files_of(directory):
        reason = _refusal(directory, path)
        if reason:
            yield f"{path}: {reason}"


def _refusal(directory: Path, path: Path) -> str | None:
    full = directory / path
    if full.is_symlink() or not full.is_file():
        return "not a plain file"
    if path.suffix not in ALLOWED_SUFFIXES and path.name not in ALLOWED_NAMES:
        return "only safetensors, JSON, tokenizer files, chat templates and texts may lie in a model directory"
    if path.suffix == ".safetensors":
        return _weights_refusal(full)
    if path.suffix == ".json":
        return _settings_refusal(full)
    return None


def _weights_refusal(path: Path) -> str | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MAX_HEADER_BYTES:
            return "not a safetensors file"
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return "not a safetensors file"
    return None if isinstance(header, dict) else "not a safetensors file"


def _settings_refusal(path: Path) -> str | None:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return "not JSON"
    return "asks for code of its own (auto_map)" if _holds_auto_map(content) else None


def _holds_auto_map(content: Any) -> bool:
    # Only where the libraries look: at the top of a configuration and in the configurations nested in it. A tokenizer's
    # vocabulary may well hold the word.
    if not isinstance(content, dict):
        return False
    nested = (value for name, value in content.items() if name.endswith("config"))
    return "auto_map" in content or any(_holds_auto_map(value) for value in nested)
