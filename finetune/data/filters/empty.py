"""Files with nothing in them."""

from __future__ import annotations

from finetune.data.rows import TextRow


def objection(row: TextRow) -> str | None:
    return None if row.text.strip() else "the file is empty or blank"
