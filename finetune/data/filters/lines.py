"""Files of overlong lines: mean above 100 or longest above 1000 characters (data, minified code)."""

from __future__ import annotations

from finetune.data.rows import TextRow

MAX_MEAN = 100
MAX_LINE = 1000


def objection(row: TextRow) -> str | None:
    lengths = [len(line) for line in row.text.removesuffix("\n").split("\n")]
    if max(lengths) > MAX_LINE:
        return f"its longest line has more than {MAX_LINE} characters"
    if sum(lengths) > MAX_MEAN * len(lengths):
        return f"its mean line has more than {MAX_MEAN} characters"
    return None
