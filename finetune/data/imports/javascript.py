"""JavaScript and TypeScript: relative paths after `from`, `import` and `require`, and those that begin with `@/` or `~/`.

Names of packages are not looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from finetune.data.imports.relative import joined

ENDINGS = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".vue", ".svelte")
TRIED = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".vue", ".svelte", ".d.ts")
# TypeScript names the file that will be made of one.
MADE_OF = {".js": (".ts", ".tsx"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
STATEMENT = re.compile(
    r"""\b(?:from|import|require)\b\s{0,8}\(?\s{0,8}(?P<quote>["'])(?P<name>(?:\.{1,2}|@|~)/[^"'\n]*|\.{1,2})(?P=quote)"""
)
ALIASES = ("@/", "~/")


def named(path: str, text: str) -> Iterator[str]:
    for found in STATEMENT.finditer(text):
        name = found["name"].partition("?")[0]
        if name.startswith(ALIASES):
            yield name[2:].strip("/")
        elif (whole := joined(path, name)) is not None:
            yield whole


def candidates(name: str) -> tuple[tuple[str, ...], ...]:
    """The file itself, what it is made of, with an ending, or a directory's index."""
    stem, dot, ending = name.rpartition(".")
    made_of = tuple(stem + other for other in MADE_OF.get(dot + ending, ()))
    itself = (name,) if dot + ending in ENDINGS else ()
    indexes = tuple(f"{name.rstrip('/')}/index{other}" for other in TRIED)
    return ((*itself, *made_of), tuple(name + other for other in TRIED), indexes)
