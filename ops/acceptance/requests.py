"""One line for each request of a run, as its client saw it: what figures follow from, and the ledger is held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import msgspec


@dataclass(frozen=True)
class Request:
    """A request as its client saw it. Times are seconds since the load began, by the client's monotonic clock.

    `events` counts the stream's events with tokens, `events_in_window` those that arrived inside the window; `error` is
    empty for a request that was answered whole. Token counts are the server's own, from the last event.
    """

    number: int
    request_id: str
    status: int
    began_s: float
    ended_s: float
    ttft_s: float | None
    events: int
    events_in_window: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    error: str

    @property
    def succeeded(self) -> bool:
        """Whether the whole answer came."""
        return not self.error

    @property
    def tpot_s(self) -> float | None:
        """(E2E - TTFT) / (n - 1)."""
        if self.error or self.ttft_s is None or self.completion_tokens < 2:
            return None
        return (self.ended_s - self.began_s - self.ttft_s) / (self.completion_tokens - 1)


def encode(requests: Iterable[Request]) -> bytes:
    """The lines of requests.jsonl, in the order of their numbers."""
    ordered = sorted(requests, key=lambda request: request.number)
    return b"".join(msgspec.json.encode(asdict(request)) + b"\n" for request in ordered)


def decode(content: bytes) -> list[Request]:
    """The requests of a requests.jsonl.

    Raises: msgspec.DecodeError
    """
    decoder = msgspec.json.Decoder(Request, strict=False)
    return [decoder.decode(line) for line in content.splitlines()]
