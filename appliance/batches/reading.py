"""Input files, read line by line: checked once as a whole, then handed out by number. Never more than one line in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.batches.lines import Bad, Fault, check

MAX_LINES = 50_000  # OpenAI's
MAX_NUMBERED = 2 * MAX_LINES  # with the blank ones, of which a file of the plan's size could have hundreds of millions
FAULTS_KEPT = 100


@dataclass(frozen=True)
class Checked:
    """What a whole file holds: its requests and their model, or what is wrong with it."""

    num_lines: int
    model: str
    faults: tuple[Fault, ...]


def numbered(path: Path, max_line_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank with their numbers from 1; of a longer one only one byte more than allowed.

    Raises: Bad when there are too many, blank ones counted.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(max_line_bytes + 2):
            number += 1
            if number > MAX_NUMBERED:
                raise Bad("too_many_tasks", f"A file has at most {MAX_NUMBERED} lines, blank ones counted.")
            line = raw.rstrip(b"\r\n")
            if len(line) > max_line_bytes:
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(max_line_bytes)
            if line.strip():
                yield number, line


def check_file(path: Path, endpoint: str, max_line_bytes: int, max_lines: int = MAX_LINES) -> Checked:
    """Read a whole file and say whether it can be worked on."""
    seen: set[bytes] = set()  # digests: ids may be long
    faults: list[Fault] = []
    model, total = "", 0
    try:
        for number, raw in numbered(path, max_line_bytes):
            total += 1
            if total > max_lines:
                raise Bad("too_many_tasks", f"A batch has at most {max_lines} requests.")
            try:
                model = _checked(raw, endpoint, max_line_bytes, model, seen)
            except Bad as bad:
                faults.append(bad.at(number))
                if len(faults) >= FAULTS_KEPT:
                    break
    except Bad as bad:  # of the file, not of a line
        faults.append(Fault(bad.code, bad.message))
    if total == 0 and not faults:
        faults.append(Fault("empty_file", "The input file holds no request."))
    return Checked(total, model, tuple(faults))


def _checked(raw: bytes, endpoint: str, max_line_bytes: int, model: str, seen: set[bytes]) -> str:
    """The file's model so far. Raises: Bad."""
    if len(raw) > max_line_bytes:
        raise Bad("line_too_long", f"A line has at most {max_line_bytes} bytes.")
    custom_id, named = check(raw, endpoint)
    if model and named != model:
        raise Bad("mismatched_model", f"A batch has one model; the first line names {model!r}.", "body.model")
    digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
    if digest in seen:
        raise Bad("duplicate_custom_id", f"custom_id {custom_id!r} is in this file twice.", "custom_id")
    seen.add(digest)
    return model or named
