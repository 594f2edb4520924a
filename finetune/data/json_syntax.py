"""Whether cleaned JSON still is JSON. A placeholder where a bare number stood gets quotes; what can't be mended is left out."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from finetune.data.desensitize.placeholders import PREFIX
from finetune.data.rows import TextRow

# Strings as a whole, so that only what stands outside of them is quoted. A sign or digits may surround the placeholder.
STRING_OR_PLACEHOLDER = re.compile(rf'"(?:[^"\\]|\\.)*+"|[-+.0-9]*+(?P<bare>{PREFIX}[A-Z_]+_\d+)[.0-9]*+', re.DOTALL)


def parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def mended(before: TextRow, after: TextRow) -> TextRow | None:
    """The cleaned row, as JSON if it was JSON before; None when that can't be had."""
    if before.text == after.text or not before.path.lower().endswith(".json"):
        return after
    if parses(after.text) or not parses(before.text):
        return after
    quoted = replace(after, text=STRING_OR_PLACEHOLDER.sub(_quoted, after.text))
    return quoted if parses(quoted.text) else None


def _quoted(match: re.Match[str]) -> str:
    return f'"{match["bare"]}"' if match["bare"] else match[0]
