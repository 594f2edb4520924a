"""Holds the ledger against the engines' own counters, one engine's life at a time. Reading either is left to the caller.

What an engine counted and no request can be billed for is *unattributed*: it is reckoned here and booked on nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

# A request's last tokens may reach its client before the engine's counters show them, and a killed worker's request is
# booked at the worker's last heartbeat. What ended this long before a reading is in the reading.
SETTLED_S = 5.0


@dataclass(frozen=True)
class Tokens:
    """Prompt tokens as an engine counts them (once per sequence), and generated ones."""

    prompt: int = 0
    completion: int = 0

    def above(self, other: Tokens) -> Tokens:
        """What this has more, of each; never less than nothing."""
        return Tokens(max(self.prompt - other.prompt, 0), max(self.completion - other.completion, 0))

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    def __bool__(self) -> bool:
        return bool(self.prompt or self.completion)


@dataclass(frozen=True)
class LifeBooks:
    """One engine's life: its counters as they were last read, and what the ledger says of it.

    `settled` is the part of `ledger` that ended at least `SETTLED_S` before that reading. A life at rest has ended or
    does nothing, and nothing of it ended after the reading. One with an `attached_url` is of a server that the pool did not
    start; where aborted requests are not counted, they were billed by their delivered events.
    """

    life_id: str
    replica_id: str | None
    model: str
    has_ended: bool
    at_rest: bool
    engine: Tokens
    ledger: Tokens
    settled: Tokens
    num_requests: int
    num_inexact: int
    num_lost: int
    counters_known: bool = True
    attached_url: str = ""
    counts_aborted: bool = True

    @property
    def overbilled(self) -> Tokens:
        """What was billed and the engine never made: always wrong."""
        return self.settled.above(self.engine)

    @property
    def unattributed(self) -> Tokens | None:
        """What the engine made and nobody is billed for; None while that can't be said."""
        return self.engine.above(self.ledger) if self.at_rest and self.counters_known else None

    @property
    def unread(self) -> Tokens:
        """What was billed after the counters were read last, for instance by an engine that was killed."""
        return self.ledger.above(self.engine).above(self.overbilled)
