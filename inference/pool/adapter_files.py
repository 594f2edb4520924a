"""Whether an adapter's directory is what was registered: the manifest's digest, every file's SHA-256, what files there are.

Standard library only. What the weights adapt is checked in `adapter_modules`.
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from inference.pool.errors import AdapterRefused

MANIFEST = "manifest.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_FORMAT = 1
_ALLOWED_SUFFIXES = (".safetensors", ".json")
_PIECE_BYTES = 4 * 1024 * 1024
MAX_JSON_BYTES = 16 * 1024 * 1024


def check_files(path: Path, digest: str) -> None:
    """Read all of an adapter's files.

    Raises: AdapterRefused with the first thing that is wrong; OSError.
    """
    listed = _listed(path, digest)
    found = {entry.name for entry in path.iterdir()} - {MANIFEST}
    if found != listed.keys() or not {WEIGHTS, CONFIG} <= found:
        others = ", ".join(sorted(found ^ listed.keys() | {WEIGHTS, CONFIG} - found))
        raise AdapterRefused(f"{path}: its files are not those of its manifest: {others}")
    for name, sha256 in listed.items():
        if not name.endswith(_ALLOWED_SUFFIXES):
            raise AdapterRefused(f"{path / name}: only safetensors and JSON files are accepted")
        if _sha256(path / name) != sha256:
            raise AdapterRefused(f"{path / name} was changed")
        if name.endswith(".json") and _names_code(read_plain(path / name), name):
            raise AdapterRefused(f"{path / name} names code to be run (auto_map)")


def _listed(path: Path, digest: str) -> dict[str, str]:
    """The SHA-256 of each file by its name, as the registered manifest has it."""
    if path.is_symlink() or not path.is_dir():
        raise AdapterRefused(f"{path} is no directory")
    content = read_plain(path / MANIFEST)
    if hashlib.sha256(content).hexdigest() != digest:
        raise AdapterRefused(f"{path / MANIFEST} is not the one that was registered")
    manifest = as_object(content, MANIFEST)
    try:
        if manifest["format"] != _FORMAT:
            raise AdapterRefused(f"{path / MANIFEST} has an unknown format")
        return {str(file["path"]): str(file["sha256"]) for file in manifest["files"]}
    except (TypeError, KeyError) as error:
        raise AdapterRefused(f"{path / MANIFEST} is damaged") from error


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading and nothing else, links least of all."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AdapterRefused(f"{path} is no plain file")
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path, limit: int = MAX_JSON_BYTES) -> bytes:
    """The content of a plain file that is not too large."""
    with open_plain(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise AdapterRefused(f"{path} is too large")
    return content


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def as_object(content: bytes, name: str) -> dict[str, Any]:
    """A JSON object; `name` is for the message when it is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AdapterRefused(f"{name} is not JSON") from error
    if not isinstance(value, dict):
        raise AdapterRefused(f"{name} holds no object")
    return value


def _names_code(content: bytes, name: str) -> bool:
    """Whether any object in a JSON file has an `auto_map`."""
    level: list[Any] = [as_object(content, name)]
    while level:
        if any(isinstance(item, dict) and "auto_map" in item for item in level):
            return True
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return False
