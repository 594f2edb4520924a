"""An engine's event stream on its way to the client: bytes pass through, only the last usage event and failures are
read.

Pure: bytes in, bytes out. Whole events only leave here, so that one can always be held back or replaced.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from inference.gateway import usage
from inference.gateway.engine_errors import reshape_event

MAX_EVENT_BYTES = 16 * 1024 * 1024

# Inside JSON strings quotes are escaped, so that these can only be keys. The engine puts no usage into other events.
USAGE = b'"usage":{'
_ERROR = b'data: {"error"'
_DONE = b"data: [DONE]\n\n"
_TOKEN_INDEX = re.compile(rb'"choices":\[\{"index":(\d+),(?:"text"|"delta":\{(?!"role":))')


class EventTooLong(Exception):
    """An event over the bound: the engine is not to be believed any more."""


class EventStream:
    """Splits reads into events and counts them; `reported` is the engine's usage once seen."""

    __slots__ = ("_carry", "_many", "_wants_usage", "done", "failed", "num_events", "reported", "started")

    def __init__(self, *, wants_usage: bool, num_sequences: int) -> None:
        self._wants_usage = wants_usage
        self._many = num_sequences > 1
        self._carry = b""
        self.num_events = 0
        self.started: set[int] = set()
        self.reported: dict[str, Any] | None = None
        self.done = False
        self.failed = False

    @property
    def plain(self) -> bool:
        """Whether the next whole event can pass as it is: nothing is held back, and nothing but a count is wanted of it."""
        return not (self._carry or self._many or self.done or self.failed)

    def feed(self, data: bytes) -> bytes:
        """What of the engine's bytes the client gets now."""
        if self._carry:
            data = self._carry + data
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            self._keep(data)
            return b""
        if end != len(data):
            self._keep(data[end:])
            data = data[:end]
        else:
            self._carry = b""
        if self._many:
            self.started.update(int(index) for index in _TOKEN_INDEX.findall(data))
        if USAGE in data or _ERROR in data or data.endswith(_DONE):
            return self._inspect(data)
        self.num_events += data.count(b"\n\n")
        return data

    def _keep(self, rest: bytes) -> None:
        if len(rest) > MAX_EVENT_BYTES:
            raise EventTooLong(f"an event of more than {MAX_EVENT_BYTES} bytes")
        self._carry = rest

    def _inspect(self, data: bytes) -> bytes:
        """The rare path, at most a few times a stream: event by event."""
        out = []
        for event in data.split(b"\n\n")[:-1]:
            if self.done or self.failed:
                break
            out.append(self._one(event + b"\n\n"))
        return b"".join(out)

    def _one(self, event: bytes) -> bytes:
        if event == _DONE:
            self.done = True
            return event
        if event.startswith(_ERROR):
            self.failed = True
            return reshape_event(event[len(b"data: ") :])
        if USAGE in event:
            parsed = msgspec.json.decode(event[len(b"data: ") :])
            if parsed.get("choices") == [] and isinstance(parsed.get("usage"), dict):
                if not usage.makes_sense(parsed["usage"]):
                    return b""
                self.reported = parsed["usage"]
                return usage.rewrite_event(parsed) if self._wants_usage else b""
        self.num_events += 1
        return event
