"""Go: an import names a directory, below the name of the module that go.mod gives to its own one."""

from __future__ import annotations

import re
from collections.abc import Iterator

ENDINGS = (".go",)
TEST = "_test.go"  # no part of what others import
STATEMENT = re.compile(r'^import[ \t]*(?:\((?P<many>[^)]*)|(?:[\w.]+[ \t]+)?(?P<one>"[^"\n]*"))', re.MULTILINE)
QUOTED = re.compile(r'^[ \t]*(?:[\w.]+[ \t]+)?"(?P<name>[^"\n]+)"', re.MULTILINE)
MODULE_FILE = "go.mod"
MODULE = re.compile(r'^module[ \t]+"?(?P<name>[^\s"]{1,300})', re.MULTILINE)


def named(path: str, text: str) -> Iterator[str]:
    del path
    for found in STATEMENT.finditer(text):
        for name in QUOTED.finditer(found["many"] or found["one"] or ""):
            yield name["name"].strip("/")


def candidates(name: str) -> tuple[tuple[str, ...], ...]:
    """The package's directory."""
    return ((f"{name}/",),)


def module_of(text: str) -> str | None:
    """The name that a go.mod gives to its directory."""
    found = MODULE.search(text)
    return found["name"].strip("/") if found else None
