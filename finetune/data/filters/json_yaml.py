"""JSON and YAML outside of 50 to 5000 characters: shorter says nothing, longer is data."""

from __future__ import annotations

from finetune.data.rows import TextRow

ENDINGS = (".json", ".yaml", ".yml")
MIN_CHARACTERS = 50
MAX_CHARACTERS = 5000


def objection(row: TextRow) -> str | None:
    if not row.path.lower().endswith(ENDINGS):
        return None
    if len(row.text) < MIN_CHARACTERS:
        return f"JSON or YAML shorter than {MIN_CHARACTERS} characters"
    return f"JSON or YAML longer than {MAX_CHARACTERS} characters" if len(row.text) > MAX_CHARACTERS else None
