"""The layout of the files in which gateway workers keep their open requests, and how to read one whose writer is gone.

A file belongs to one process of one boot, which its name says. It holds slots of a fixed size; the first one is the
process's heartbeat. A slot is written so that a reader never believes half of it: texts carry a checksum, a state is
one aligned word written last, and so is every counter. Who writes is `open_requests`; what is billed from a dead
worker's slots is decided here, and acted on by the meter.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import msgspec

from inference.gateway.limits.gates import Prices
from inference.metering.journal import UsageRecord

SLOT_BYTES = 1024
SLOTS = 1024  # of one file, the heartbeat included
FILE_NAME = re.compile(r"^open-(?P<pid>\d+)-(?P<started>\d+)-(?P<boot>[0-9a-f]{32})-\d+\.bin$")
LOST = "lost"  # the outcome of a request whose worker was killed
NOT_ANSWERED = 503  # the client saw its connection close before any status

# Words of 8 bytes at a slot's beginning, then the request's id, then the whole request.
STATE, EVENTS, TTFT, TOKENS, SPEND, ID_SUM, REQUEST_SUM = range(7)
WORDS = SLOT_BYTES // 8
ID_AT, ID_BYTES = 56, 80
REQUEST_AT = ID_AT + ID_BYTES
REQUEST_BYTES = SLOT_BYTES - REQUEST_AT
BEAT = 0  # in the first slot: Unix time in milliseconds
_HEAD = struct.Struct("=7Q")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class State(IntEnum):
    """What is known of a slot's request."""

    FREE = 0
    HELD = 1  # limits are being reserved or are; no engine has it
    OPEN = 2  # an engine has it
    BOOKED = 3  # the journal has its line, or it needs none; Redis may not know yet what it used


class OpenRequest(msgspec.Struct, frozen=True, array_like=True):
    """What must be known of a request to bill what was seen of it. `silent_events` hold no token."""

    request_id: str
    tenant_id: str
    key_id: str | None
    model: str
    endpoint: str
    stream: bool
    life_id: str | None
    replica_id: str | None
    started_at: float
    silent_events: int
    prices: tuple[int, int, int]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(OpenRequest)


@dataclass(frozen=True)
class Found:
    """One used slot of a dead worker. Without `request` its text was damaged, without `request_id` even its id."""

    state: State
    request_id: str | None
    request: OpenRequest | None
    events: int
    ttft_ms: int | None
    tokens: int
    spend_micros: int


@dataclass(frozen=True)
class Table:
    """What a file held; `beat` is when its writer was last known to live (Unix seconds)."""

    beat: float
    slots: tuple[Found, ...]


def beside(journal_dir: Path) -> Path:
    """Where the tables lie: next to the journals."""
    return journal_dir.with_name("open")


def boot_id() -> str:
    """The kernel's name of this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")


def encode(request: OpenRequest) -> bytes:
    """A request as it stands in its slot."""
    return _encoder.encode(request)


def checked(text: bytes) -> int:
    """A text's length and checksum, in one word."""
    return len(text) << 32 | zlib.crc32(text)


def read_table(path: Path) -> Table:
    """All used slots of a file that nobody writes any more."""
    data = path.read_bytes()
    if len(data) < SLOT_BYTES:  # its writer ended while it made the file
        return Table(0.0, ())
    (beat_ms,) = struct.unpack_from("=Q", data, BEAT)
    slots = (_found(data, at) for at in range(SLOT_BYTES, len(data) - SLOT_BYTES + 1, SLOT_BYTES))
    return Table(beat_ms / 1000, tuple(slot for slot in slots if slot is not None))


def _found(data: bytes, at: int) -> Found | None:
    state, events, ttft, tokens, spend, id_sum, request_sum = _HEAD.unpack_from(data, at)
    if state == State.FREE:
        return None
    request_id = _text(data, at + ID_AT, ID_BYTES, id_sum)
    text = _text(data, at + REQUEST_AT, REQUEST_BYTES, request_sum) if state == State.OPEN else None
    return Found(
        State(state) if state in set(State) else State.OPEN,
        None if request_id is None else request_id.decode(),
        _request(text, request_id),
        events,
        ttft - 1 if ttft else None,
        tokens,
        spend,
    )


def _text(data: bytes, at: int, room: int, summed: int) -> bytes | None:
    length = summed >> 32
    text = data[at : at + length]
    return text if 0 < length <= room and checked(text) == summed else None


def _request(text: bytes | None, request_id: bytes | None) -> OpenRequest | None:
    if text is None or request_id is None:
        return None
    try:
        request = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return request if request.request_id.encode() == request_id else None


def lost_record(found: Found, beat: float) -> UsageRecord | None:
    """What a killed worker's open request is billed: its events, and no prompt. None where no engine had it.

    An event has at least one token. How much of the prompt was read, and what of it came from the cache, nobody
    can prove any more.
    """
    request = found.request
    if found.state is not State.OPEN or request is None:
        return None
    return UsageRecord(
        request_id=request.request_id,
        tenant_id=request.tenant_id,
        key_id=request.key_id,
        model=request.model,
        endpoint=request.endpoint,
        stream=request.stream,
        life_id=request.life_id,
        replica_id=request.replica_id,
        started_at=request.started_at,
        finished_at=max(beat, request.started_at),
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=max(found.events - request.silent_events, 0),
        engine_prompt_tokens=0,
        outcome=LOST,
        http_status=200 if found.events else NOT_ANSWERED,
        ttft_ms=found.ttft_ms,
        exact=False,
    )


def spend_of(request: OpenRequest, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
    """What a request costs, in millionths of its plan's currency, as its reservation counts it."""
    return Prices(*request.prices).cost(prompt_tokens, cached_tokens, completion_tokens)


def writer_of(path: Path) -> tuple[int, int] | None:
    """Process id and start (clock ticks) of a table's writer; None for one of another boot, or for another file."""
    match = FILE_NAME.match(path.name)
    if match is None or match["boot"] != boot_id():
        return None
    return int(match["pid"]), int(match["started"])


def tables(directory: Path) -> list[Path]:
    """All tables of a directory."""
    return sorted(path for path in directory.glob("open-*.bin") if FILE_NAME.match(path.name))


def name_of(number: int, started: int) -> str:
    """The name of this process's table with that number."""
    return f"open-{os.getpid()}-{started}-{boot_id()}-{number}.bin"
