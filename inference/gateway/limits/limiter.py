"""Reserves before a request runs, settles after it: in Redis while that answers in time, else from the worker's share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from inference.gateway import metrics
from inference.gateway.limits.deadlines import Deadlines, TooSlow
from inference.gateway.limits.gates import Gate
from inference.gateway.limits.local import LocalShare
from inference.gateway.limits.outcome import Left, Refused, Taken
from inference.gateway.limits.scripts import CONTENT, OPEN, PREFIX, SCRIPTS
from inference.gateway.limits.wire import Argument, RedisAway, RedisRefused, RedisWire, connect

log = logging.getLogger(__name__)

SLOW_S = 1.0
BACKGROUND_S = 1.0  # for what no request waits for
LEASE_S = 45.0

RENEW_S = 10.0
SETTLE_BATCH_S = 0.02
RECONNECT_S = (0.1, 0.2, 0.5, 1.0)


class Reservation(msgspec.Struct):
    """What one request holds until it is settled, which may be said twice."""

    request_id: str
    gates: tuple[Gate, ...]
    left: tuple[Left, ...]
    local: bool
    over: bool = False


class Limiter:
    """One worker's. `run` keeps the connection, the leases and the settling going.

    A Redis slower than `answer_s` is treated as away, for a moment. `told` hears of each reservation that is over
    once Redis knows of it, or need not.
    """

    def __init__(
        self, url: str, num_workers: int, answer_s: float, told: Callable[[str], None] = lambda _: None
    ) -> None:
        self._url = url
        self._deadlines = Deadlines(answer_s)
        self._told = told
        self._share = LocalShare(num_workers)
        self._wire: RedisWire | None = None
        self._held: set[str] = set()  # open in Redis, to be renewed
        self._settled: list[Argument] = []
        self._kick = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._slow_until = 0.0
        self._flushing = asyncio.Lock()

    async def reserve(self, request_id: str, gates: Sequence[Gate]) -> Reservation | Refused:
        """Take what a request may need, or say which gate refuses it."""
        if not gates:
            return Reservation(request_id, (), (), local=True)
        answer = self._ask(request_id, gates)
        told = None if answer is None else await self._in_time(answer, request_id)
        if told is None:
            return self._from_share(request_id, gates)
        outcome = read(told)
        if isinstance(outcome, Refused):
            return outcome
        self._held.add(request_id)
        return Reservation(request_id, tuple(gates), outcome.left, local=False)

    def _ask(self, request_id: str, gates: Sequence[Gate]) -> asyncio.Future[Any] | None:
        """The reserve script's answer to come; None while Redis is away or was too slow a moment ago."""
        if self._wire is None or self._loop.time() < self._slow_until:
            return None
        scopes: dict[str, int] = {}
        values: list[Argument] = []
        for key, kind, limit, amount, _ in gates:
            values += (scopes.setdefault(PREFIX + key[:-2], len(scopes) + 1), kind, limit, amount)
        return self._wire.call(
            "EVALSHA", SCRIPTS["reserve"].digest, len(scopes) + 2, OPEN, CONTENT, *scopes,
            request_id, round(LEASE_S * 1_000_000), *values, late=lambda answer: self._undo(answer, request_id),
        )  # fmt: skip

    async def _in_time(self, answer: asyncio.Future[Any], request_id: str) -> Any:
        """What Redis answers; None where it is away or takes too long. What comes later, and what Redis may have taken
        before the connection broke, is undone, so that nothing stays taken."""
        self._deadlines.add(answer)
        try:
            return await answer
        except TooSlow:
            self._slow_until = self._loop.time() + SLOW_S
        except RedisRefused as error:
            log.warning("limits: Redis refused: %s", error)
            self._close()  # connecting loads the scripts anew
        except RedisAway:
            self._undo(None, request_id)
        return None

    def _undo(self, late: Any, request_id: str) -> None:
        """Give back what a late answer says was taken, or what may have been: `late` is None where none will come."""
        if late is None or isinstance(read(late), Taken):
            self._settled += (request_id, 0, 0)
            self._kick.set()

    def settle(self, reservation: Reservation, tokens: int, spend_micros: int) -> None:
        """The request is over and used this much. Waits for nothing."""
        if reservation.over:
            return
        reservation.over = True
        if reservation.local:
            self._share.settle(reservation.request_id, reservation.gates, tokens, spend_micros)
            self._told(reservation.request_id)
            return
        self._held.discard(reservation.request_id)
        self._settled += (reservation.request_id, tokens, spend_micros)
        self._kick.set()

    async def run(self) -> None:
        """Hold the connection and do what is due, until cancelled; what was settled is written before that."""
        failures = 0
        while True:
            try:
                wire = await connect(self._url)
                await self._load_scripts(wire)
                self._wire, failures = wire, 0
                await self._serve(wire)
            except (RedisAway, RedisRefused, TimeoutError) as error:
                log.warning("limits: %s; every worker keeps to its own share meanwhile", error)
            except Exception:
                # Top of the loop: without it this worker would decide alone for ever.
                log.exception("limits: lost Redis")
            self._close()
            metrics.LIMITS_RECONNECTS.inc()
            await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
            failures += 1

    async def stop(self) -> None:
        """Write what was settled, if Redis takes it."""
        try:
            await self._flush()
        except (RedisAway, RedisRefused, TimeoutError):
            log.warning("limits: %d settled requests were not written; their leases run out", len(self._settled) // 3)
        self._close()

    async def _load_scripts(self, wire: RedisWire) -> None:
        for script in SCRIPTS.values():
            async with asyncio.timeout(BACKGROUND_S):
                await wire.call("SCRIPT", "LOAD", script.text)

    async def _serve(self, wire: RedisWire) -> None:
        renew_at = self._loop.time() + RENEW_S
        while wire.open:
            await self._wait(min(1.0, max(0.0, renew_at - self._loop.time())))
            await self._flush()
            if self._loop.time() >= renew_at:
                renew_at += RENEW_S
                await self._renew()
                await self._run_script("settle", (OPEN, CONTENT), ("expired",))
        raise RedisAway("Redis is away")

    async def _wait(self, longest_s: float) -> None:
        # not wait_for: in Python 3.11 it can swallow a cancellation that comes with the event
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._kick.wait()
                await asyncio.sleep(SETTLE_BATCH_S)  # those that end together are settled together
        self._kick.clear()

    async def _flush(self) -> None:
        """Settle what has ended. What Redis did not take stays, and settling twice changes nothing."""
        async with self._flushing:  # `stop` comes while `run` may be at it: what is cut off must be what was written
            while self._settled:
                batch = self._settled[:300]
                await self._run_script("settle", (OPEN, CONTENT), batch)
                del self._settled[: len(batch)]
                for request_id in batch[::3]:
                    self._told(str(request_id))

    async def _renew(self) -> None:
        held = list(self._held)
        for start in range(0, len(held), 500):
            arguments: list[Argument] = [round(LEASE_S * 1_000_000), *held[start : start + 500]]
            await self._run_script("renew", (OPEN,), arguments)

    async def _run_script(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> None:
        if self._wire is None:
            raise RedisAway("not connected")
        async with asyncio.timeout(BACKGROUND_S):
            await self._wire.call("EVALSHA", SCRIPTS[name].digest, len(keys), *keys, *arguments)

    def _from_share(self, request_id: str, gates: Sequence[Gate]) -> Reservation | Refused:
        metrics.LIMITS_LOCAL.inc()
        outcome = self._share.reserve(request_id, gates)
        if isinstance(outcome, Refused):
            return outcome
        return Reservation(request_id, tuple(gates), outcome.left, local=True)

    def _close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
            self._kick.set()


def read(answer: list[int]) -> Taken | Refused:
    """The reserve script's answer."""
    taken, rest = bool(answer[0]), answer[1:]
    figures = rest if taken else rest[2:]
    pairs = zip(figures[::2], figures[1::2], strict=True)
    left = tuple([Left(remaining, reset_us / 1_000_000) for remaining, reset_us in pairs])
    if taken:
        return Taken(left)
    return Refused(rest[0] - 1, None if rest[1] < 0 else rest[1] / 1_000_000, left)
