"""Whether cleaned Python still is Python. A file that parsed before and doesn't after is left out rather than taught."""

from __future__ import annotations

import ast
import symtable
import warnings

from finetune.data.rows import TextRow


def parses(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's odd escapes are no concern here
        try:
            if _is_told(text):
                return True
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def _is_told(text: str) -> bool:
    """Whether names could be looked up in it, which takes a quarter of the time of a tree made of Python's objects.

    What parses may still not be told so: `return` outside of a function.
    """
    try:
        symtable.symtable(text, "<text>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def was_broken(before: TextRow, after: TextRow) -> bool:
    """Whether cleaning made a Python file unreadable to Python."""
    if before.text == after.text or not before.path.lower().endswith((".py", ".pyi")):
        return False
    return not parses(after.text) and parses(before.text)
