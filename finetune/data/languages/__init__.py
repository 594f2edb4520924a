"""The programming language of a source file: by its name, and by its text only where the name leaves it open.

Nearly all names are Pygments'. What they leave open is decided by a few words that one language has and the other has not; a
header of C that could as well be one of C++ is left to `settled`, which knows the files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from finetune.data.languages.contents import C_OR_CPP, UNCLEAR, by_first_line
from finetune.data.languages.names import by_name, ending_of

OTHER = "other"
__all__ = ["C_OR_CPP", "OTHER", "language_of", "settled"]


def language_of(path: str, text: str) -> str:
    """The language's name; OTHER where neither name nor first line tells."""
    if tell := UNCLEAR.get(ending_of(path).lower()):
        return tell(text)
    return by_name(path) or by_first_line(text) or OTHER


def settled(num_files: Mapping[str, int]) -> str:
    """What headers that fit both are, given the files of each language: C++ where an upload has more of that."""
    return "C++" if num_files.get("C++", 0) > num_files.get("C", 0) else "C"
