"""Every token is billed once or known as unattributed, whoever leaves, dies or is killed on the way."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import dataclass, field
from datetime import timedelta

import psutil  # type: ignore[import-untyped]
import pytest
from django.db.models import Sum
from django.utils import timezone

from appliance.fleet.models import EngineLife
from appliance.ledger import metrics
from appliance.ledger.models import LedgerEntry
from appliance.ledger.reconcile import OnTheWay, reconcile
from tests.appliance.ledger.conftest import MODEL, BookedRig
from tests.clients.leaving import LeavingClient
from tests.fakes.engine import FakeEngine
from tests.inference.gateway.parts import KEY

CONCURRENCY = 32
LEAVES, DIES = 0.10, 0.02  # of the requests
LONG = (pytest.mark.long, pytest.mark.timeout(1800))


class Client(LeavingClient):
    """One at a fake engine."""

    def __init__(self, orders: str, stream: bool, leaves_after: int | None) -> None:
        asked = {"messages": [{"role": "user", "content": orders}], "stream": stream, "max_tokens": 400}
        super().__init__(KEY, "/v1/chat/completions", {"model": MODEL, **asked}, leaves_after)

    @property
    def tokens(self) -> int:
        """That it received."""
        return self.answer.count(b'"delta":{"content":" ')


def clients(count: int, chance: random.Random, dies: float) -> list[Client]:
    return [client(chance, dies) for _ in range(count)]


def client(chance: random.Random, dies: float) -> Client:
    tokens = chance.randint(1, 60)
    orders = f"tokens={tokens} delay={chance.choice((0, 0.002, 0.01))}"
    if chance.random() < dies:
        orders += f" die={chance.randint(0, tokens)}"
    stream = chance.random() < 0.9
    return Client(orders, stream, chance.randint(0, tokens) if chance.random() < LEAVES else None)


@dataclass
class Faults:
    """What is done to the gateway and to an engine, evenly over all requests."""

    rig: BookedRig
    chance: random.Random
    kills: int = 0
    deaths: int = 0
    killed: set[int] = field(default_factory=set)
    dead: dict[str, FakeEngine] = field(default_factory=dict)  # by their lives

    async def before(self, number: int, count: int) -> None:
        """What is due once so many of all requests have begun."""
        if number * (self.kills + 1) // count > (number - 1) * (self.kills + 1) // count and number < count:
            await self._kill_worker()
        if number * (self.deaths + 1) // count > (number - 1) * (self.deaths + 1) // count and number < count:
            self._kill_engine()

    async def _kill_worker(self) -> None:
        """SIGKILL one that lives; while none does, the next is waited for."""
        assert self.rig.process is not None
        while True:
            workers = {worker.pid for worker in psutil.Process(self.rig.process.pid).children()} - self.killed
            if workers:
                break
            await asyncio.sleep(0.01)
        pid = self.chance.choice(sorted(workers))
        self.killed.add(pid)
        os.kill(pid, signal.SIGKILL)

    def _kill_engine(self) -> None:
        """One engine dies, another comes in its place."""
        name = f"mortal{len(self.dead)}"
        if name in self.rig.engines:
            self.dead[self.rig.lives[name]] = self.rig.remove_engine(name)
        self.rig.start_engine(f"mortal{len(self.dead)}", MODEL)


async def put_on(rig: BookedRig, asked: list[Client], faults: Faults) -> None:
    """All requests, `CONCURRENCY` at a time."""
    waiting = iter(enumerate(asked, 1))

    async def one_after_another() -> None:
        for number, client in waiting:
            await faults.before(number, len(asked))
            await client.run(rig.port)
            if not client.received and client.leaves_after is None:  # no worker listens yet
                await asyncio.sleep(0.1)

    sweeping = asyncio.create_task(sweep_all_the_time(rig))
    await asyncio.gather(*[one_after_another() for _ in range(CONCURRENCY)])
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


async def sweep_all_the_time(rig: BookedRig) -> None:
    """As the meter does, beside the load."""
    while True:
        await asyncio.shield(asyncio.to_thread(rig.sweep_aside))
        await asyncio.sleep(0.3)


def run(rig: BookedRig, count: int, kills: int, deaths: int, seed: int) -> list[Client]:
    chance = random.Random(seed)
    lines = metrics.LINES._value.get()
    rig.start_engine("mortal0", MODEL)
    rig.start_gateway(workers=2)
    asked = clients(count, chance, DIES)
    faults = Faults(rig, chance, kills, deaths)
    asyncio.run(put_on(rig, asked, faults))
    rig.settle()
    assert (len(faults.killed), len(faults.dead)) == (kills, deaths)
    check(rig, asked, {rig.lives[name]: engine for name, engine in rig.engines.items()} | faults.dead)
    assert metrics.LINES._value.get() - lines == LedgerEntry.objects.count(), "no request has two lines"
    return asked


def check(rig: BookedRig, asked: list[Client], engines: dict[str, FakeEngine]) -> None:
    """`engines` are all that ever ran, by their lives."""
    rows = {row.request_id: row for row in LedgerEntry.objects.all()}
    made = {(life, f"req-{bare}"): count for life, engine in engines.items() for bare, count in engine.made.items()}
    for row in rows.values():
        generated = made.get((str(row.life_id), row.request_id), 0)
        assert row.completion_tokens <= generated, "billed more than was made"
        assert not row.exact or row.completion_tokens == generated, "said to be exact"
    assert {client.request_id for client in asked if client.tokens} <= rows.keys()
    for client in asked:
        if client.request_id in rows:
            row = rows[client.request_id]
            assert client.tokens <= row.completion_tokens, "what was delivered is billed, whoever was killed"
            assert not client.whole or row.exact
    for life, engine in engines.items():
        prompt, completion = booked_on(life)
        assert prompt <= engine.prompt_tokens
        assert completion <= engine.generation_tokens
        missing = sum(count for (its, name), count in made.items() if its == life) - completion
        lost = sum(
            made.get((life, row.request_id), 0) - row.completion_tokens
            for row in rows.values()
            if str(row.life_id) == life and not row.exact
        )
        retried = sum(
            count
            for (its, name), count in made.items()
            if its == life and (name not in rows or str(rows[name].life_id) != life)
        )
        assert engine.generation_tokens - completion == missing == lost + retried, (
            "nothing else is attributed to nobody"
        )
    assert_books_agree(rig, engines)
    if not rig.figure("coderack_gateway_limits_local_total"):  # a worker that decided alone told Redis nothing
        assert rig.used_today() == sum(row.completion_tokens + row.prompt_tokens for row in rows.values())


def assert_books_agree(rig: BookedRig, engines: dict[str, FakeEngine]) -> None:
    """The operator's report says the same, from what the pool would have put on record."""
    for life, engine in engines.items():
        EngineLife.objects.create(
            id=life, model_name=MODEL, pid=1, pid_started=1, socket="s", log="l", started_at=timezone.now(),
            ended_at=timezone.now(), counters_at=timezone.now() + timedelta(minutes=1), prompt_tokens=engine.prompt_tokens,
            generation_tokens=engine.generation_tokens,
        )  # fmt: skip
    report = reconcile(rig.journal_dir, days=1)
    assert len(report.lives) == len(engines)
    assert report.on_the_way == OnTheWay(0, 0, 0)
    assert not report.overbilled
    assert not report.elsewhere
    for books in report.lives:
        assert books.unattributed is not None
        assert books.ledger + books.unattributed == books.engine


def booked_on(life: str) -> tuple[int, int]:
    rows = LedgerEntry.objects.filter(life_id=life).order_by()
    sums = rows.aggregate(prompt=Sum("engine_prompt_tokens"), completion=Sum("completion_tokens"))
    return sums["prompt"] or 0, sums["completion"] or 0


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=LONG)])
def test_disconnects_alone_lose_nothing(booked: BookedRig, count: int) -> None:
    booked.start_gateway(workers=2)
    chance = random.Random(7)
    asked = clients(count, chance, dies=0)
    asyncio.run(put_on(booked, asked, Faults(booked, chance)))
    booked.settle()
    staying = [client for client in asked if client.leaves_after is None]
    assert all(client.whole for client in staying)
    assert len(staying) < LedgerEntry.objects.count() <= count, "one that left before it was admitted has no line"
    assert not LedgerEntry.objects.filter(exact=False).exists()
    for name, engine in booked.engines.items():
        assert booked_on(booked.lives[name]) == (engine.prompt_tokens, engine.generation_tokens)
    assert booked.used_today() == sum(row.completion_tokens + row.prompt_tokens for row in LedgerEntry.objects.all())


def test_nobody_is_billed_too_much_when_workers_and_engines_die(booked: BookedRig) -> None:
    asked = run(booked, count=300, kills=6, deaths=1, seed=11)
    assert sum(client.whole for client in asked) > 100
    assert LedgerEntry.objects.filter(outcome="lost").exists()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand_requests_with_a_hundred_killed_workers(booked: BookedRig) -> None:
    asked = run(booked, count=10_000, kills=100, deaths=10, seed=23)
    assert sum(client.whole for client in asked) > 5_000
    assert LedgerEntry.objects.filter(outcome="lost").count() > 100
