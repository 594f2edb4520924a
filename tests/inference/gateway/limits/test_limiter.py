"""Reserving and settling on a real Redis: never over a limit, nothing held at rest, a declared share without Redis."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.gateway.limits import limiter as limits
from inference.gateway.limits.gates import Gate, Kind
from inference.gateway.limits.limiter import Limiter, Reservation
from inference.gateway.limits.local import window_end
from inference.gateway.limits.outcome import Refused
from inference.gateway.limits.scripts import CONTENT, OPEN, PREFIX, SCRIPTS
from tests.inference.gateway.redis_server import RedisServer

Body = Callable[[Limiter], Coroutine[Any, Any, None]]


PATIENT_S = 5.0  # a busy machine answers late; what slowness does has tests of its own


def gate(kind: Kind, limit: int, amount: int = 1, scope: str = "t:alpha") -> Gate:
    return Gate(f"{scope}:{kind}", kind, limit, amount, "The tenant")


@contextlib.asynccontextmanager
async def running(url: str, num_workers: int = 1, answer_s: float = PATIENT_S) -> AsyncIterator[Limiter]:
    limiter = Limiter(url, num_workers, answer_s)
    task = asyncio.create_task(limiter.run())
    async with asyncio.timeout(20):
        while limiter._wire is None:
            await asyncio.sleep(0.01)
    try:
        yield limiter
    finally:
        await limiter.stop()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def with_limiters(server: RedisServer, body: Callable[..., Coroutine[Any, Any, None]], count: int = 1) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            await body(*[await stack.enter_async_context(running(server.url)) for _ in range(count)])

    asyncio.run(main())


async def at_rest(server: RedisServer) -> None:
    """Wait until nothing is reserved."""
    async with asyncio.timeout(20):
        while server.client().zcard(OPEN) or server.client().hlen(CONTENT):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("kind", "limit", "amount", "admitted"),
    [
        (Kind.REQUESTS, 20, 1, 20),
        (Kind.REQUESTS, 7, 1, 7),
        (Kind.REQUESTS, 59, 1, 59),
        (Kind.RUNNING, 7, 1, 7),
        (Kind.MINUTE, 1000, 90, 11),
        (Kind.SPEND, 50, 7, 7),
    ],
)
def test_64_at_once_never_take_more_than_the_limit(
    server: RedisServer, kind: Kind, limit: int, amount: int, admitted: int
) -> None:
    async def body(*limiters: Limiter) -> None:
        asked = [limiters[n % len(limiters)].reserve(f"r{n}", [gate(kind, limit, amount)]) for n in range(64)]
        outcomes = await asyncio.gather(*asked)
        taken = [one for one in outcomes if isinstance(one, Reservation)]
        assert len(taken) == admitted
        assert not any(one.local for one in taken)

    with_limiters(server, body, count=4)


def test_a_refusal_by_one_gate_takes_nothing_of_the_others(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        gates = [gate(Kind.MINUTE, 100, 40), gate(Kind.RUNNING, 1)]
        first = await limiter.reserve("a", gates)
        second = await limiter.reserve("b", gates)
        assert isinstance(first, Reservation)
        assert isinstance(second, Refused)
        assert second.index == 1
        assert [rest.remaining for rest in second.left] == [60, 0]

    with_limiters(server, body)


def test_what_was_not_used_comes_back_and_nothing_stays_reserved(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        gates = [
            gate(Kind.MINUTE, 100, 80),
            gate(Kind.DAY, 1000, 80),
            gate(Kind.RUNNING, 5),
            gate(Kind.SPEND, 900, 500),
        ]
        held = await limiter.reserve("a", gates)
        assert isinstance(held, Reservation)
        assert isinstance(await limiter.reserve("b", gates), Refused)
        limiter.settle(held, 10, 33)
        limiter.settle(held, 10, 33)
        await at_rest(server)
        again = await limiter.reserve("c", gates)
        assert isinstance(again, Reservation)
        assert [rest.remaining for rest in again.left] == [10, 910, 4, 367]

    with_limiters(server, body)


def test_an_end_that_is_told_twice_in_one_go_counts_once(server: RedisServer) -> None:
    client = server.client()
    reserve, settle = SCRIPTS["reserve"].text, SCRIPTS["settle"].text
    scopes = (f"{PREFIX}t:twice", f"{PREFIX}k:twice")
    gates = (1, "c", 10, 1, 1, "M", 1000, 100, 2, "s", 1000, 100)
    for name in ("a", "b"):
        client.eval(reserve, 4, OPEN, CONTENT, *scopes, name, 45_000_000, *gates)
    assert client.eval(settle, 2, OPEN, CONTENT, "a", 30, 0, "a", 30, 0, "unknown", 1, 1) == 1
    assert (client.hget(scopes[0], "c"), client.hget(scopes[0], "M")) == (b"1", b"130")
    assert client.hget(scopes[1], "s") == b"100"
    assert client.eval(settle, 2, OPEN, CONTENT, "a", 30, 0, "b", 0, 0) == 1
    assert (client.hget(scopes[0], "c"), client.hget(scopes[0], "M")) == (b"0", b"30")
    assert (client.zcard(OPEN), client.hlen(CONTENT)) == (0, 0)


def test_a_scope_is_kept_longer_than_any_of_its_windows(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        key, day_s = f"{PREFIX}t:alpha", 86_400
        assert isinstance(await limiter.reserve("a", [gate(Kind.MONTH, 100, 1)]), Reservation)
        assert server.client().ttl(key) > 33 * day_s
        server.client().hset(key, "x", int((time.time() + 20 * day_s) * 1e6))
        server.client().expire(key, 20 * day_s)
        assert isinstance(await limiter.reserve("b", [gate(Kind.MONTH, 100, 1)]), Reservation)
        assert server.client().ttl(key) > 33 * day_s

    with_limiters(server, body)


def test_a_window_that_a_wrong_clock_began_is_not_kept(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        far = int((time.time() + 400 * 86_400) * 1e6)
        server.client().hset(f"{PREFIX}t:alpha", mapping={"M": 100, "Me": far})
        assert isinstance(await limiter.reserve("a", [gate(Kind.MONTH, 100, 1)]), Reservation)
        assert server.client().hget(f"{PREFIX}t:alpha", "M") == b"1"

    with_limiters(server, body)


def test_requests_that_a_wrong_clock_counted_refuse_nobody_for_longer_than_a_minute(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        for ahead_s, outcome in ((3600, Reservation), (59.5, Refused)):
            server.client().hset(f"{PREFIX}t:alpha", "r", int((time.time() + ahead_s) * 1e6))
            assert isinstance(await limiter.reserve(f"a{ahead_s}", [gate(Kind.REQUESTS, 1)]), outcome)

    with_limiters(server, body)


def test_use_beyond_the_reservation_counts(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        held = await limiter.reserve("a", [gate(Kind.DAY, 1000, 10)])
        assert isinstance(held, Reservation)
        limiter.settle(held, 700, 0)
        await at_rest(server)
        after = await limiter.reserve("b", [gate(Kind.DAY, 1000, 400)])
        assert isinstance(after, Refused)
        assert after.left[0].remaining == 300

    with_limiters(server, body)


def test_use_beyond_the_reservation_of_a_window_that_ended_counts_in_the_next(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        held = await limiter.reserve("a", [gate(Kind.DAY, 1000, 10)])
        back = await limiter.reserve("b", [gate(Kind.DAY, 1000, 200)])
        assert isinstance(held, Reservation)
        assert isinstance(back, Reservation)
        end_yesterday(server, "a", "b")
        limiter.settle(back, 50, 0)
        limiter.settle(held, 700, 0)
        await at_rest(server)
        after = await limiter.reserve("c", [gate(Kind.DAY, 1000, 400)])
        assert isinstance(after, Refused)
        assert after.left[0].remaining == 1000 - (700 - 10)

    with_limiters(server, body)


def end_yesterday(server: RedisServer, *request_ids: str) -> None:
    """As if the day in which these reserved had ended."""
    client, ended = server.client(), time.time_ns() // 1000 - 1
    for request_id in request_ids:
        content = msgspec.msgpack.decode(client.hget(CONTENT, request_id))
        client.hset(CONTENT, request_id, msgspec.msgpack.encode([[*of[:3], ended] for of in content]))
    client.hset(f"{PREFIX}t:alpha", "de", str(ended))


def test_what_redis_took_before_the_connection_broke_is_given_back(server: RedisServer) -> None:
    async def main() -> None:
        async with running(server.url) as limiter:
            waits = asyncio.create_task(limiter.reserve("a", [gate(Kind.RUNNING, 10)]))
            await wait_until_taken(server)
            assert limiter._wire is not None
            limiter._wire.close()
            outcome = await waits
            assert isinstance(outcome, Reservation)
            assert outcome.local
            await at_rest(server)
            assert server.client().hget(f"{PREFIX}t:alpha", "c") == b"0"

    asyncio.run(main())


async def wait_until_taken(server: RedisServer) -> None:
    """Redis has a reservation whose answer this process, which is busy here, has not read."""
    await asyncio.sleep(0)  # the command leaves
    await asyncio.sleep(0)
    until = time.monotonic() + 20
    while not server.client().zcard(OPEN) and time.monotonic() < until:
        time.sleep(0.01)


def test_requests_come_back_one_by_one_over_the_minute(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        gates = [gate(Kind.REQUESTS, 600)]
        outcomes = [await limiter.reserve(f"r{n}", gates) for n in range(700)]
        refused = [one for one in outcomes if isinstance(one, Refused)]
        assert 60 <= len(refused) <= 100
        assert refused[0].retry_s is not None
        assert 0 < refused[0].retry_s <= 0.1
        await asyncio.sleep(refused[-1].retry_s or 0)
        assert isinstance(await limiter.reserve("later", gates), Reservation)

    with_limiters(server, body)


def test_a_request_larger_than_the_limit_is_told_that_it_never_fits(server: RedisServer) -> None:
    async def body(limiter: Limiter) -> None:
        outcome = await limiter.reserve("a", [gate(Kind.REQUESTS, 5), gate(Kind.MINUTE, 100, 101)])
        assert isinstance(outcome, Refused)
        assert (outcome.index, outcome.retry_s) == (1, None)

    with_limiters(server, body)


@pytest.mark.parametrize(("kind", "longest_s"), [(Kind.MINUTE, 60), (Kind.DAY, 86_400), (Kind.MONTH, 31 * 86_400)])
def test_a_window_ends_where_the_calendar_says(server: RedisServer, kind: Kind, longest_s: int) -> None:
    async def body(limiter: Limiter) -> None:
        held = await limiter.reserve("a", [gate(kind, 10)])
        assert isinstance(held, Reservation)
        assert 0 < held.left[0].reset_s <= longest_s
        assert abs(held.left[0].reset_s - (window_end(kind, time.time()) - time.time())) < 2

    with_limiters(server, body)


def test_a_dead_workers_reservations_end_with_their_lease(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_S", 1.5)
    monkeypatch.setattr(limits, "RENEW_S", 0.2)

    async def body(dead: Limiter, alive: Limiter) -> None:
        gates = [gate(Kind.RUNNING, 1), gate(Kind.DAY, 100, 100)]
        assert isinstance(await dead.reserve("a", gates), Reservation)
        await asyncio.sleep(2)
        assert isinstance(await alive.reserve("b", gates), Refused), "a living worker's lease is renewed"
        dead._held.clear()
        await at_rest(server)
        assert isinstance(await alive.reserve("c", gates), Reservation)

    with_limiters(server, body, count=2)


def test_a_redis_that_is_away_leaves_every_worker_its_share(server: RedisServer) -> None:
    async def main() -> None:
        async with running(server.url, num_workers=2) as limiter:
            server.stop()
            await asyncio.sleep(0.05)
            began = time.monotonic()
            outcomes = [await limiter.reserve(f"r{n}", [gate(Kind.RUNNING, 10)]) for n in range(8)]
            assert time.monotonic() - began < PATIENT_S, "nobody is waited for"
            taken = [one for one in outcomes if isinstance(one, Reservation)]
            assert len(taken) == 5
            assert all(one.local for one in taken)
            for one in taken:
                limiter.settle(one, 1, 1)
            assert isinstance(await limiter.reserve("again", [gate(Kind.RUNNING, 10)]), Reservation)
            server.start()
            async with asyncio.timeout(20):
                while (back := await limiter.reserve("back", [gate(Kind.RUNNING, 10)])) and (
                    isinstance(back, Refused) or back.local
                ):
                    await asyncio.sleep(0.05)

    asyncio.run(main())


def test_a_redis_that_hangs_is_waited_for_once_and_what_it_took_is_given_back(server: RedisServer) -> None:
    async def main() -> None:
        async with running(server.url, answer_s=1.0) as limiter:
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP)
            try:
                began = time.monotonic()
                outcomes = [await limiter.reserve(f"r{n}", [gate(Kind.DAY, 100, 10)]) for n in range(3)]
                took_s = time.monotonic() - began
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert all(isinstance(one, Reservation) and one.local for one in outcomes)
            assert 1.0 <= took_s < 2.0, "once, not three times"
            await asyncio.sleep(0.2)
            await at_rest(server)
            assert server.client().hget(f"{PREFIX}t:alpha", "d") in (None, b"0")

    asyncio.run(main())


def test_flushed_scripts_and_counters_are_no_outage(server: RedisServer) -> None:
    async def main() -> None:
        async with running(server.url) as limiter:
            server.client().script_flush()
            server.client().flushall()
            assert isinstance(await limiter.reserve("a", [gate(Kind.DAY, 100, 10)]), Reservation)
            async with asyncio.timeout(20):
                while True:
                    back = await limiter.reserve("b", [gate(Kind.DAY, 100, 10)])
                    if isinstance(back, Reservation) and not back.local:
                        break
                    await asyncio.sleep(0.05)

    asyncio.run(main())


@given(st.integers(0, 4_000_000_000))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_scripts_know_the_calendar(redis_server: RedisServer, now: int) -> None:
    text = files("inference.gateway.limits").joinpath("window.lua").read_text()
    text += "now = tonumber(ARGV[1]) * 1000000\nreturn window_end(ARGV[2]) / 1000000"
    client = redis_server.client()
    for kind in (Kind.MINUTE, Kind.DAY, Kind.MONTH, Kind.SPEND):
        assert client.eval(text, 0, now, kind.value) == window_end(kind, now)
