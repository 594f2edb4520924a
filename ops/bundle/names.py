"""Which names a bundle may use. They become paths on other machines, so they are few and plain.

Names that differ in upper and lower case only are refused: the usual file systems of USB sticks take them for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_NAME_CHARS = 100
MAX_PATH_CHARS = 240
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", re.ASCII)


def is_name(text: object) -> bool:
    """Whether this can name a model and, with its digest, a directory."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def path_faults(paths: Iterable[str]) -> list[str]:
    """Say of each path that can't lie in a bundle why not."""
    faults: list[str] = []
    known: dict[str, str] = {}
    for path in sorted(paths):
        if len(path) > MAX_PATH_CHARS or not all(_PART.fullmatch(part) for part in path.split("/")):
            faults.append(f"{path!r}: not a plain relative path of letters, digits and . _ + -")
        elif path.casefold() in known:
            faults.append(f"{path!r}: differs from {known[path.casefold()]!r} in upper and lower case only")
        known.setdefault(path.casefold(), path)
    return faults
