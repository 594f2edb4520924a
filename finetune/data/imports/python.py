"""Python: `import a.b` and `from a.b import c`, where c may be a module or something in a.b."""

from __future__ import annotations

import re
from collections.abc import Iterator

from finetune.data.imports.relative import joined

ENDINGS = (".py", ".pyi")
# No bracket has to be closed: what is asked for only once takes no longer in a file of opened ones.
STATEMENT = re.compile(
    r"^[ \t]*(?:import[ \t]+(?P<modules>[\w.][^\n#;]*)"
    r"|from[ \t]+(?P<dots>\.*)[ \t]*(?P<of>[\w.]*)[ \t]+import[ \t]*(?:\((?P<many>[^)]*)|(?P<some>[\w*][^\n#;\\]*)))",
    re.MULTILINE,
)
COMMENT = re.compile(r"#[^\n]*")


def named(path: str, text: str) -> Iterator[str]:
    for found in _statements(text):
        if found["modules"]:
            yield from (_words(part).replace(".", "/") for part in found["modules"].split(","))
            continue
        of = _module(path, found["dots"], found["of"])
        if of is not None:
            for part in COMMENT.sub("", found["many"] or found["some"] or "").split(","):
                word = _words(part)
                # A constant is no module, whatever else is.
                yield of if word in ("", "*") or word.isupper() else f"{of.rstrip('/')}/{word}"


def _statements(text: str) -> Iterator[re.Match[str]]:
    """What STATEMENT finds, tried only at lines with the word: it stands on the first line of each statement."""
    end = 0
    place = text.find("import")
    while place >= 0:
        start = text.rfind("\n", 0, place) + 1
        if start >= end and (found := STATEMENT.match(text, start)):
            yield found
            end = found.end()
        after = text.find("\n", place)
        place = text.find("import", after) if after >= 0 else -1


def _words(part: str) -> str:
    """The name of `name as other`."""
    words = part.split(None, 1)
    return words[0] if words else ""


def _module(path: str, dots: str, of: str) -> str | None:
    """The module before `import`; None where its dots lead out of the upload."""
    name = of.replace(".", "/")
    return joined(path, "../" * (len(dots) - 1) + name) if dots else name


def candidates(name: str) -> tuple[tuple[str, ...], ...]:
    """The module, else the one that it is in."""
    above = name.rpartition("/")[0]
    return tuple((f"{module}.py", f"{module}/__init__.py") for module in (name, above) if module.strip("/"))
