"""Java: `import a.b.C`, `import static a.b.C.m` and `import a.b.*`. Classes of the own package are named without an import."""

from __future__ import annotations

import re
from collections.abc import Iterator

ENDINGS = (".java",)
STATEMENT = re.compile(
    r"^[ \t]*import[ \t]+(?:static[ \t]+)?(?P<name>\w+(?:\.\w+)*)(?P<all>\.\*)?[ \t]*;", re.MULTILINE
)


def named(path: str, text: str) -> Iterator[str]:
    del path
    for found in STATEMENT.finditer(text):
        yield found["name"].replace(".", "/") + ("/" if found["all"] else "")


def candidates(name: str) -> tuple[tuple[str, ...], ...]:
    """The class, else the one that it is in; of all in something: those of the class, else the package's."""
    if name.endswith("/"):
        return ((f"{name[:-1]}.java",), (name,))
    above = name.rpartition("/")[0]
    return ((f"{name}.java",), (f"{above}.java",)) if above else ((f"{name}.java",),)
