"""Files of less than a quarter letters: tables, dumps, drawings. Chinese characters are letters."""

from __future__ import annotations

from finetune.data.rows import TextRow

MIN_SHARE = 0.25


def objection(row: TextRow) -> str | None:
    letters = sum(map(str.isalpha, row.text))
    return "less than 25 % of its characters are letters" if letters < MIN_SHARE * len(row.text) else None
