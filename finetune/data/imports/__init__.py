"""What source files import, by language. Names are read from lines by their look, not by a parser: an import in a comment or a
string may count, and one that is put together at run time does not.

A language is a module with
- `named(path, text) -> Iterator[str]`: what the file imports, as paths without an ending. One that begins with a slash is
  counted from the top of the upload; others may lie below any directory above the file;
- `candidates(name) -> tuple[tuple[str, ...], ...]`: the files that such a name can mean, in groups, the better one first. A
  trailing slash means all files of a directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from finetune.data.imports import c, go, java, javascript, python

MOST_NAMES = 256  # of one file
MOST_CHARACTERS = 300  # of one name


@dataclass(frozen=True)
class Language:
    """How a language's files name others, and how the names are looked up."""

    named: Callable[[str, str], Iterator[str]]
    candidates: Callable[[str], tuple[tuple[str, ...], ...]]
    endings: tuple[str, ...]
    by_directory: bool = False  # a name can mean all files of a directory
    bare_elsewhere: bool = False  # a name without a slash is looked for in the whole upload


LANGUAGES = {
    "python": Language(python.named, python.candidates, python.ENDINGS),
    "javascript": Language(javascript.named, javascript.candidates, javascript.ENDINGS),
    "java": Language(java.named, java.candidates, java.ENDINGS, by_directory=True),
    "go": Language(go.named, go.candidates, go.ENDINGS, by_directory=True),
    "c": Language(c.named, c.candidates, c.ENDINGS, bare_elsewhere=True),
}
BY_ENDING = {ending: name for name, language in LANGUAGES.items() for ending in language.endings}


def language_of(path: str) -> str | None:
    """The key in LANGUAGES, by the name's ending."""
    return BY_ENDING.get(path[path.rfind(".") :].lower())


def names_in(language: str, path: str, text: str) -> list[str]:
    """The different names that a file imports, in their order, at most 256."""
    named = LANGUAGES[language].named(path, text)
    some = (name for name in islice(named, 4 * MOST_NAMES) if 0 < len(name) <= MOST_CHARACTERS)
    return list(dict.fromkeys(some))[:MOST_NAMES]
