"""C, C++ and Objective-C: includes. One in quotes can lie beside the file; one in angles counts only with a directory in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from finetune.data.imports.relative import joined

ENDINGS = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inl", ".ipp", ".cu", ".cuh", ".m", ".mm")
STATEMENT = re.compile(r'^[ \t]*#[ \t]*(?:include|import)[ \t]*(?P<open>[<"])(?P<name>[^<>"\n]+)[>"]', re.MULTILINE)


def named(path: str, text: str) -> Iterator[str]:
    for found in STATEMENT.finditer(text):
        name = found["name"].strip()
        if name.startswith("."):
            whole = joined(path, name)
            if whole is not None:
                yield whole
        elif found["open"] == '"' or "/" in name:
            yield name.strip("/")


def candidates(name: str) -> tuple[tuple[str, ...], ...]:
    """The very file. A directory of its own above the including file is tried like any other, the nearest first."""
    return ((name,),)
