"""Why an engine died, from the end of its log: the exception first, then the last lines.

It knows how tracebacks look, not what any engine means by them.
"""

import re
from pathlib import Path

TAIL_LINES = 20
_TAIL_BYTES = 64 * 1024
_LINE_CHARS = 300
_REASON_CHARS = 4000
# `(Worker pid=7) ERROR 11-22 20:58:04 [core.py:68] ` in front of a logged traceback's lines
_PREFIX = re.compile(r"^(?:\([^)]*pid=\d+\)\s*)?(?:(?:ERROR|CRITICAL)\s+\S+\s+\S+\s+\[[^\]]*\]\s?)?")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b(?::|$)|^\S+: error: ")
# these only point at an earlier exception, which is the one worth showing
_POINTERS = ("root cause above", "See stack trace", "EngineDeadError")


def last_words(log: Path) -> str:
    """The exception that ended it, if there is one, then the last lines of the log; empty when there is no log."""
    lines = _last_lines(log)
    headline = _headline(lines)
    tail = [line[:_LINE_CHARS] for line in lines[-TAIL_LINES:]]
    return "\n".join([*([headline] if headline else []), *tail])[:_REASON_CHARS]


def _last_lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _headline(lines: list[str]) -> str:
    bare = [_PREFIX.sub("", line) for line in lines]
    found = [
        number
        for number, line in enumerate(bare)
        if _EXCEPTION.match(line) and not any(pointer in line for pointer in _POINTERS)
    ]
    if not found:
        return ""
    last = found[-1]
    # validators put what is wrong on the indented line that follows
    detail = bare[last + 1].strip() if last + 1 < len(bare) and bare[last + 1].startswith("  ") else ""
    return f"{bare[last]} {detail}".strip()[: 2 * _LINE_CHARS]
