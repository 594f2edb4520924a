"""A reservation ends once, whatever becomes of its request."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from inference.gateway import inbound
from inference.gateway.fim import NOTHING
from inference.gateway.held import Held
from inference.gateway.limits.gates import Gate, Kind, Prices
from inference.gateway.limits.limiter import Reservation
from inference.gateway.limits.outcome import Left
from inference.gateway.usage import Usage


class Books:
    """A limiter that only writes down what it is told."""

    def __init__(self) -> None:
        self.settled: list[tuple[str, int, int]] = []

    def settle(self, reservation: Reservation, tokens: int, spend_micros: int) -> None:
        self.settled.append((reservation.request_id, tokens, spend_micros))


def held(books: Any) -> Held:
    gates = (Gate("t:a:d", Kind.DAY, 10, 1, "The tenant"),)
    reservation = Reservation("req-1", gates, (Left(9, 1.0),), local=False)
    slot: Any = SimpleNamespace(end=lambda *_, **__: None)
    return Held(books, reservation, Prices(1_000_000, 100_000, 2_000_000), slot)


def test_usage_takes_the_reservations_place_at_the_plans_prices() -> None:
    books = Books()
    held(books).settle(Usage(100, 40, 5, 100))
    assert books.settled == [("req-1", 105, 60 + 4 + 10)]


def test_a_request_that_no_relay_takes_gives_back_what_it_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books()

    async def hold(*_: object) -> Held:
        return held(books)

    async def admit(*_: object) -> object:
        return SimpleNamespace(session=None, dropped=NOTHING)

    def broken(*_: object) -> None:
        raise RuntimeError("no relay")

    monkeypatch.setattr(inbound, "admit", admit)
    monkeypatch.setattr(inbound, "hold", hold)
    monkeypatch.setattr(inbound, "Relay", broken)
    request: Any = inbound.Inbound.__new__(inbound.Inbound)
    request._gateway = SimpleNamespace(
        journal=SimpleNamespace(healthy=True),
        directory=None,
        counter=None,
        limiter=books,
        open_requests=SimpleNamespace(has_room=lambda: True),
    )
    request._front, request._body, request._room, request._key = object(), b"", 0, None
    request._request = SimpleNamespace(
        target=SimpleNamespace(kind=SimpleNamespace(value="chat")), request_id="req-1", header=lambda _name: None
    )
    with pytest.raises(RuntimeError, match="no relay"):
        asyncio.run(request._admit())
    assert books.settled == [("req-1", 0, 0)]
