"""Files of overlong lines: mean above 100 or longest above 1000 characters (data, minified code)."""

from __future__ import annotations

from finetune.data.rows import TextRow

MAX_MEAN = 100
MAX_LINE = 1000


def objection(row: TextRow) -> str | None:
    text = row.text.removesuffix("\n")
    if _has_overlong(text):
        return f"its longest line has more than {MAX_LINE} characters"
    num_lines = text.count("\n") + 1
    if len(text) - (num_lines - 1) > MAX_MEAN * num_lines:
        return f"its mean line has more than {MAX_MEAN} characters"
    return None


def _has_overlong(text: str) -> bool:
    """Looks back from as far as a line may reach, instead of at each line."""
    start = 0
    while len(text) - start > MAX_LINE:
        end = text.rfind("\n", start, start + MAX_LINE + 1)
        if end < 0:
            return True
        start = end + 1
    return False
