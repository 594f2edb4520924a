"""What the pool reads and writes of attached servers, as plain values and one protocol. The control plane implements it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from inference.engines.spec import Counters


class AttachedState(StrEnum):
    """Where an attached server stands. `draining` ends with its row."""

    STARTING = "starting"  # attached, and not looked at yet
    READY = "ready"
    UNREACHABLE = "unreachable"  # the reason says why; it comes back by itself
    DRAINING = "draining"


@dataclass(frozen=True)
class Totals:
    """Token counters of a server, prompt and generated."""

    prompt: int
    generation: int


@dataclass(frozen=True)
class AttachedRow:
    """A server. `name` is the public model, `served_model` the server's own name for it.

    `base` is what its counters showed when the present life began, `saved` what they have risen by since; None while unknown.
    """

    id: str
    name: str
    url: str
    served_model: str
    state: AttachedState
    life_id: str | None
    base: Totals | None
    saved: Totals | None


class AttachedStore(Protocol):
    def attached(self) -> list[AttachedRow]: ...

    def move_attached(self, server_id: str, from_state: AttachedState, to_state: AttachedState, reason: str) -> bool:
        """Compare-and-set; False when it is gone or in another state."""
        ...

    def begin_attached_life(self, server_id: str, life_id: str, base: Totals | None) -> None:
        """Its counters began anew, or are read for the first time; the life before it ends."""
        ...

    def save_counters(self, life_id: str, counters: Counters) -> None: ...

    def has_open_requests(self, life_id: str) -> bool:
        """Whether a gateway worker has a request there."""
        ...

    def forget_attached(self, server_id: str) -> None:
        """It is attached no longer: the row goes, its life ends, its key is deleted."""
        ...

    def done(self) -> None:
        """The calling thread asks nothing more: what was held for it is given back."""
        ...
