"""Files of less than a quarter letters: tables, dumps, drawings. Chinese characters are letters."""

from __future__ import annotations

import string

from finetune.data.rows import TextRow

MIN_SHARE = 0.25
LETTERS = string.ascii_letters.encode()


def objection(row: TextRow) -> str | None:
    letters = _num_letters(row.text)
    return "less than 25 % of its characters are letters" if letters < MIN_SHARE * len(row.text) else None


def _num_letters(text: str) -> int:
    if text.isascii():  # twenty times quicker than asking each character
        return len(text) - len(text.encode().translate(None, LETTERS))
    return sum(map(str.isalpha, text))
