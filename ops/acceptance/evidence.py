"""Holds a run against the books: each request against the ledger, and the ledger against the engines' own counters.

Pure. A counter's reading is of use only where the engine was idle and no request was on its way: then everything that the
ledger books between two such readings must be exactly what the counters rose by, whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.acceptance.requests import Request

# A reading this soon after a request's end, or before its own time stamp, may lack that request's last tokens.
MARGIN_S = 0.5
MOST_NAMED = 20


@dataclass(frozen=True)
class Entry:
    """A row of the ledger. Times are Unix seconds."""

    request_id: str
    life_id: str | None
    of_run: bool
    began_at: float
    ended_at: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    engine_prompt_tokens: int
    exact: bool


@dataclass(frozen=True)
class Reading:
    """An engine's own counters at a moment, in Unix seconds."""

    at: float
    prompt_tokens: int
    generation_tokens: int


@dataclass(frozen=True)
class LifeBook:
    """One engine's life: two readings while it was idle, and what the ledger books between them."""

    life_id: str
    replica: str
    devices: tuple[str, ...]
    before: Reading | None
    after: Reading | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    requests_of_others: int
    inexact: int


@dataclass(frozen=True)
class Evidence:
    """What the books say about a run. `disagreeing` names requests, at most 20, that client and ledger tell differently."""

    key_id: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    num_disagreeing: int
    disagreeing: tuple[str, ...]
    first_request: str
    last_request: str
    lives_before: tuple[str, ...]
    lives_after: tuple[str, ...]
    lives: tuple[LifeBook, ...]


def disagreeing(requests: Sequence[Request], entries: Iterable[Entry]) -> list[str]:
    """The ids of requests that the client saw and the ledger does not bear out, and the other way round.

    What failed before it reached an engine is in no book; of a request that failed later the client knows no figures.
    """
    booked = {entry.request_id: entry for entry in entries if entry.of_run}
    seen = {request.request_id for request in requests if request.request_id}
    odd = [r.request_id or f"request {r.number}" for r in requests if r.succeeded and not _agree(r, booked)]
    odd += [name for name, entry in booked.items() if name not in seen and entry.completion_tokens]
    twice = len([r for r in requests if r.request_id]) - len(seen)
    return odd + ["an id was given twice"] * bool(twice)


def _agree(request: Request, booked: Mapping[str, Entry]) -> bool:
    entry = booked.get(request.request_id)
    return entry is not None and (entry.prompt_tokens, entry.cached_tokens, entry.completion_tokens, entry.exact) == (
        request.prompt_tokens, request.cached_tokens, request.completion_tokens, True,
    )  # fmt: skip


def usable(readings: Iterable[Reading], entries: Sequence[Entry]) -> list[Reading]:
    """The readings at whose moment no request of that life was on its way, oldest first."""
    clear = [r for r in readings if not any(e.began_at <= r.at <= e.ended_at + MARGIN_S for e in entries)]
    return sorted(clear, key=lambda reading: reading.at)


def book(
    life_id: str,
    replica: str,
    devices: Sequence[str],
    readings: tuple[Sequence[Reading], Sequence[Reading]],
    entries: Iterable[Entry],
) -> LifeBook:
    """One life's account between the last usable reading before the load and the first one after it."""
    own = [entry for entry in entries if entry.life_id == life_id]
    before = next(reversed(usable(readings[0], own)), None)
    after = next(iter(usable(readings[1], own)), None)
    between = [e for e in own if before and after and before.at < e.ended_at <= after.at]
    return LifeBook(
        life_id, replica, tuple(devices), before, after,
        requests=len(between),
        prompt_tokens=sum(entry.engine_prompt_tokens for entry in between),
        completion_tokens=sum(entry.completion_tokens for entry in between),
        requests_of_others=sum(not entry.of_run for entry in between),
        inexact=sum(not entry.exact for entry in between),
    )  # fmt: skip


def evidence(
    key_id: str,
    requests: Sequence[Request],
    entries: Sequence[Entry],
    lives: tuple[Sequence[str], Sequence[str]],
    books: Iterable[LifeBook],
) -> Evidence:
    """All of it together. `lives` are those that served before and after the load."""
    own = sorted((entry for entry in entries if entry.of_run), key=lambda entry: entry.began_at)
    odd = disagreeing(requests, entries)
    return Evidence(
        key_id=key_id,
        requests=len(own),
        prompt_tokens=sum(entry.prompt_tokens for entry in own),
        cached_tokens=sum(entry.cached_tokens for entry in own),
        completion_tokens=sum(entry.completion_tokens for entry in own),
        num_disagreeing=len(odd),
        disagreeing=tuple(odd[:MOST_NAMED]),
        first_request=own[0].request_id if own else "",
        last_request=own[-1].request_id if own else "",
        lives_before=tuple(sorted(lives[0])),
        lives_after=tuple(sorted(lives[1])),
        lives=tuple(books),
    )
