"""The requests that wait in one worker because engines are full: bounded, told apart by lane, model and tenant.

First in, first out inside a tenant. Who of the heads goes next is `dispatch`'s to say, which knows the tenants' counters.
"""

from __future__ import annotations

from asyncio import Future
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from inference.gateway.lanes import Lane

T = TypeVar("T")


class Errand(msgspec.Struct, frozen=True):
    """What routing and the queue have to know of a request."""

    lane: Lane
    tenant: str
    weight: int
    model: str
    base: str
    prefix: int
    num_sequences: int
    prompt_tokens: int
    max_tokens: int
    num_bytes: int


@dataclass(eq=False, slots=True)
class Waiting(Generic[T]):
    """A request in the queue; `answer` becomes its place, None where it left by itself, or the refusal."""

    errand: Errand
    since: float
    avoid: Collection[str]
    answer: Future[T | None] = field(repr=False)


class QueueFull(Exception):
    """There is no room for this request."""


class FairQueue(Generic[T]):
    """Times are seconds of any one clock."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._all: dict[Waiting[T], None] = {}  # a dict keeps the order and lets go of any of them at once
        self._groups: dict[tuple[Lane, str, str], dict[Waiting[T], None]] = {}
        self._taken: Counter[str] = Counter()  # by tenant
        self._num_of: Counter[str] = Counter()  # by base model
        self._num_of_model: Counter[str] = Counter()
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, waiting: Waiting[T]) -> bool:
        return waiting in self._all

    def __iter__(self) -> Iterator[Waiting[T]]:
        return iter(list(self._all))

    def heads(self) -> list[Waiting[T]]:
        """The first of each tenant, by lane and model."""
        return [next(iter(group)) for group in self._groups.values()]

    def head(self, lane: Lane, model: str, tenant: str) -> Waiting[T] | None:
        """The first of these, where one waits."""
        return next(iter(self._groups.get((lane, model, tenant), ())), None)

    def is_head(self, waiting: Waiting[T]) -> bool:
        """Whether it waits, and is the first of its tenant in its lane and for its model."""
        return next(iter(self._groups.get(_group(waiting), ())), None) is waiting

    def models(self) -> set[str]:
        """What somebody waits for."""
        return set(self._num_of_model)

    def holds(self, lane: Lane, model: str, tenant: str) -> bool:
        """Whether one of these waits."""
        return (lane, model, tenant) in self._groups

    def num_of(self, base: str) -> int:
        """How many wait for a base model and its adapters."""
        return self._num_of[base]

    def num_before(self, errand: Errand) -> int:
        """How many wait for its base model and its adapters in its lane or in one that goes first."""
        return sum(
            len(group)
            for (lane, _, _), group in self._groups.items()
            if lane <= errand.lane and next(iter(group)).errand.base == errand.base
        )

    def expired(self, before: float) -> list[Waiting[T]]:
        """Those that came before a point in time, the oldest first."""
        found: list[Waiting[T]] = []
        for waiting in self._all:
            if waiting.since >= before:
                break
            found.append(waiting)
        return found

    def add(self, waiting: Waiting[T]) -> list[Waiting[T]]:
        """Take a request in; where there is no room, the newest of the tenant that takes the most of it are sent away.

        Raises: QueueFull where nobody has more of the queue than this request's tenant.
        """
        sent_away = self._victims_for(waiting.errand)
        for victim in sent_away:
            self.remove(victim)
        self._all[waiting] = None
        self._groups.setdefault(_group(waiting), {})[waiting] = None
        self._num_bytes += waiting.errand.num_bytes
        self._num_of[waiting.errand.base] += 1
        self._num_of_model[waiting.errand.model] += 1
        self._taken[waiting.errand.tenant] += self._share(waiting.errand)
        return sent_away

    def _share(self, errand: Errand) -> int:
        """How much of the queue a request takes, in millionths of its length and of its size together."""
        return 1_000_000 // self._max_requests + errand.num_bytes * 1_000_000 // self._max_bytes

    def _victims_for(self, newcomer: Errand) -> list[Waiting[T]]:
        num_over = len(self._all) + 1 - self._max_requests
        bytes_over = self._num_bytes + newcomer.num_bytes - self._max_bytes
        own = self._taken[newcomer.tenant] + self._share(newcomer)
        taken = Counter(self._taken) if num_over > 0 or bytes_over > 0 else self._taken
        victims: list[Waiting[T]] = []
        while num_over > 0 or bytes_over > 0:
            tenant, most = max(taken.items(), key=lambda item: item[1], default=("", 0))
            if most <= own:
                raise QueueFull
            left = (one for one in reversed(self._all) if one.errand.tenant == tenant and one not in victims)
            victim = max(left, key=lambda one: one.errand.lane)
            victims.append(victim)
            taken[tenant] -= self._share(victim.errand)
            num_over, bytes_over = num_over - 1, bytes_over - victim.errand.num_bytes
        return victims

    def remove(self, waiting: Waiting[T]) -> None:
        """It waits no more."""
        if waiting not in self._all:
            return
        del self._all[waiting]
        tenant = waiting.errand.tenant
        self._num_bytes -= waiting.errand.num_bytes
        self._taken[tenant] -= self._share(waiting.errand)
        if not self._taken[tenant]:
            del self._taken[tenant]
        self._num_of[waiting.errand.base] -= 1
        self._num_of_model[waiting.errand.model] -= 1
        if not self._num_of_model[waiting.errand.model]:
            del self._num_of_model[waiting.errand.model]
        group = self._groups[_group(waiting)]
        del group[waiting]
        if not group:
            del self._groups[_group(waiting)]


def _group(waiting: Waiting[T]) -> tuple[Lane, str, str]:
    errand = waiting.errand
    return errand.lane, errand.model, errand.tenant
