"""JSON lines, one bounded line at a time, to chat rows; each fault names its line and field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from finetune.data.chat_rows import to_row
from finetune.data.limits import DEFAULT, Limits
from finetune.data.rows import ChatRow

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read(source: Path, limits: Limits = DEFAULT) -> Iterator[ChatRow | str]:
    """Rows and faults (strings), in the order of the lines. Blank lines are passed over."""
    for number, line in _lines(source, limits.row_bytes):
        if number > limits.rows:
            yield f"line {number}: more than {limits.rows} lines; split the file"
            return
        if len(line) > limits.row_bytes:
            yield f"line {number}: the row is larger than {limits.row_bytes} bytes; shorten or split it"
        elif line.strip():
            parsed = _parse(number, line)
            if isinstance(parsed, ChatRow):
                yield parsed
            else:
                yield from (f"line {number}: {fault}" for fault in parsed)


def _lines(source: Path, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends; of a line over `max_bytes` one byte more than that is kept."""
    with source.open("rb") as file:
        number = 0
        while line := file.readline(max_bytes + 3):
            number += 1
            ended = line.endswith(b"\n")
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            yield number, line.rstrip(b"\r\n")[: max_bytes + 1]
            while not ended and (rest := file.readline(max_bytes)):
                ended = rest.endswith(b"\n")


def _parse(number: int, line: bytes) -> ChatRow | list[str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"the row isn't UTF-8 (byte {error.start + 1}); save the file as UTF-8"]
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repetitions)
    except json.JSONDecodeError as error:
        return [f"the row isn't JSON: {error.msg} (column {error.colno})"]
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return [f"the row isn't JSON: {reason}"]
    return to_row(number, value)


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a field twice")
    return found
