"""The queue on a real gateway of two workers, with engines that run few sequences: who waits, who overtakes, who is refused.

What went first is read off the engine, not off a clock.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from inference.gateway.breaker import FAILURES_TO_OPEN
from inference.gateway.limits.scripts import OPEN
from tests.fakes.engine import FakeEngine
from tests.inference.gateway.database import add_key, add_model
from tests.inference.gateway.parts import Rig, free_port, healthy, start_gunicorn
from tests.inference.gateway.test_faults import open_stream, read_all
from tests.waiting import wait_until

COMPLETIONS = "/v1/completions"
MODEL = "deepseek-narrow"
ENDLESS = "tokens=4000 delay=0.05"
ROOM = 2  # of a replica that runs one sequence: that one, and the next


LIVES = itertools.count()


@pytest.fixture
def engine(rig: Rig) -> Iterator[FakeEngine]:
    """The only replica of a model, which runs one sequence at a time."""
    add_model(rig.postgres, MODEL, str(rig.root / "model"), fim=True)
    for tenant in ("many", "few"):
        add_key(rig.postgres, f"sk-{tenant}", tenant)
    # a life of its own each time: workers remember how one fared
    engine = rig.start_engine(f"narrow-{next(LIVES)}", MODEL, max_sequences=1)
    rig.wait_for_directory()
    yield engine
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE model = %s", MODEL)
    rig.wait_for_directory()
    wait_until(lambda: not engine.running)
    engine.stop()
    rig.postgres.execute("DELETE FROM gateway_models WHERE name = %s", MODEL)
    rig.postgres.execute("DELETE FROM gateway_keys WHERE tenant_id IN ('many', 'few')")
    rig.wait_for_directory()


@pytest.fixture
def full(rig: Rig, engine: FakeEngine) -> Iterator[Callable[[], None]]:
    """The engine has all it takes; called, it gets room again."""
    with ExitStack() as stack:
        holders = [stack.enter_context(open_stream(rig, body(ENDLESS, stream=True), COMPLETIONS)) for _ in range(ROOM)]
        wait_until(lambda: len(engine.running) == ROOM)

        def release() -> None:
            for holder in holders:
                holder.close()

        yield release


def body(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "max_tokens": 4000, **fields}


def queued(rig: Rig, lane: str = "chat") -> float:
    return rig.figure(f'coderack_gateway_queued{{lane="{lane}"}}')


def prompts(engine: FakeEngine) -> list[str]:
    return [one["prompt"] for one in engine.bodies]


def ask(rig: Rig, tenant: str, prompt: str, **fields: Any) -> int:
    return rig.call("POST", COMPLETIONS, body(prompt, **fields), authorization=f"Bearer sk-{tenant}")[0]


def test_a_tenant_that_floods_delays_another_by_no_more_than_its_share(
    rig: Rig, engine: FakeEngine, full: Callable[[], None]
) -> None:
    with ThreadPoolExecutor(60) as pool:
        flood = [pool.submit(ask, rig, "many", "many tokens=2 delay=0.02") for _ in range(40)]
        wait_until(lambda: queued(rig) == 40)
        late = [pool.submit(ask, rig, "few", "few tokens=2 delay=0.02") for _ in range(8)]
        wait_until(lambda: queued(rig) == 48)
        full()
        assert {one.result() for one in [*flood, *late]} == {200}
    order = [prompt.split()[0] for prompt in prompts(engine)[ROOM:]]
    last = max(place for place, tenant in enumerate(order) if tenant == "few")
    # one each in turn would be 16; what two workers charge and put right meanwhile may shift it
    assert last < 24
    assert order.count("few") == 8
    assert queued(rig) == 0
    assert rig.figure('coderack_gateway_queue_wait_seconds_count{lane="chat"}') >= 48


def test_filling_in_the_middle_overtakes_chat(rig: Rig, engine: FakeEngine, full: Callable[[], None]) -> None:
    with ThreadPoolExecutor(20) as pool:
        chats = [pool.submit(ask, rig, "many", "chat tokens=2 delay=0.02") for _ in range(12)]
        wait_until(lambda: queued(rig) == 12)
        fim = pool.submit(ask, rig, "many", "fim", suffix="x")
        wait_until(lambda: queued(rig, "fim") == 1)
        full()
        assert {one.result() for one in [*chats, fim]} == {200}
    order = prompts(engine)[ROOM:]
    assert [prompt.startswith("chat") for prompt in order].index(False) < 4


def test_a_waiting_stream_hears_comments_and_then_its_answer(
    rig: Rig, engine: FakeEngine, full: Callable[[], None]
) -> None:
    with open_stream(rig, body("tokens=3", stream=True), COMPLETIONS) as client:
        assert read_until(client, b": keep-alive\n\n").startswith(b"HTTP/1.1 200")
        full()
        assert b'"error"' not in read_until(client, b"[DONE]")


def test_a_client_that_leaves_while_it_waits_costs_nothing(
    rig: Rig, engine: FakeEngine, full: Callable[[], None]
) -> None:
    limits = {"tenant": {"concurrency": 3}, "key": {}, "models": {}, "prices": [1, 1, 1]}
    add_key(rig.postgres, "sk-held", "few", limits=limits)
    rig.wait_for_directory()
    data = json.dumps(body("left")).encode()
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-held\r\ncontent-length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", rig.port), timeout=20) as client:
        client.sendall(head.encode() + data)
        wait_until(lambda: queued(rig) == 1)
        assert rig.redis.client().zcard(OPEN) == 1
    wait_until(lambda: queued(rig) == 0)
    wait_until(lambda: not rig.redis.client().zcard(OPEN))
    assert "left" not in prompts(engine)


def test_without_replicas_nobody_waits_on(rig: Rig, engine: FakeEngine, full: Callable[[], None]) -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(rig.call, "POST", COMPLETIONS, body("x")) for _ in range(4)]
        wait_until(lambda: queued(rig) == 4)
        rig.postgres.execute("DELETE FROM gateway_replicas WHERE model = %s", MODEL)
        answers = [one.result() for one in waiting]
    assert {(answer[0], json.loads(answer[2])["error"]["code"]) for answer in answers} == {(503, "overloaded")}


def test_a_queue_has_an_end_in_time_and_in_length(rig: Rig, engine: FakeEngine) -> None:
    port = free_port()
    process = start_gunicorn(rig, port, 1, queue_wait_s=3, queue_requests=2, graceful_s=10)
    try:
        wait_until(lambda: healthy(port))
        with ExitStack() as stack:
            streams = [body(ENDLESS, stream=True)] * (ROOM + 2)
            clients = [stack.enter_context(open_stream(rig, one, COMPLETIONS, port)) for one in streams]
            wait_until(lambda: len(engine.running) == ROOM)
            refused = read_until(stack.enter_context(open_stream(rig, body("x"), COMPLETIONS, port)), b"overloaded")
            waited = read_all_of(clients)
        assert all(b"overloaded" in answer for answer in waited)
        head = refused.partition(b"\r\n\r\n")[0].lower()
        assert head.startswith(b"http/1.1 503")
        assert 1 <= int(head.split(b"retry-after: ")[1].split(b"\r\n")[0]) <= 60
        assert len(waited) == 2
    finally:
        process.terminate()
        process.wait(20)


def read_until(client: socket.socket, mark: bytes) -> bytes:
    client.settimeout(20)
    received = b""
    while mark not in received:
        data = client.recv(65536)
        assert data, received
        received += data
    return received


def read_all_of(clients: list[socket.socket]) -> list[bytes]:
    """What those are told that never got to the engine: one error event, after comments."""
    told: dict[int, bytes] = dict.fromkeys(range(len(clients)), b"")
    for client in clients:
        client.settimeout(0.05)

    def two_are_refused() -> list[bytes]:
        for number, client in enumerate(clients):
            try:
                told[number] += client.recv(65536)
            except TimeoutError:
                continue
        return found if len(found := [one for one in told.values() if b'"error"' in one]) == 2 else []

    found: list[bytes] = wait_until(two_are_refused)
    return found


def test_a_stopping_gateway_tells_those_who_wait(rig: Rig, engine: FakeEngine) -> None:
    port = free_port()
    process = start_gunicorn(rig, port, 1, comment_after_s=60, graceful_s=4)
    try:
        wait_until(lambda: healthy(port))
        with ExitStack() as stack:
            for _ in range(ROOM):
                stack.enter_context(open_stream(rig, body(ENDLESS, stream=True), COMPLETIONS, port))
            wait_until(lambda: len(engine.running) == ROOM)
            client = stack.enter_context(open_stream(rig, body("waits", stream=True), COMPLETIONS, port))
            wait_until(lambda: in_metrics(port, 'coderack_gateway_queued{lane="chat"} 1.0'))
            process.send_signal(signal.SIGTERM)
            answer = read_all(client)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(20)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"overloaded" in answer
    assert "waits" not in prompts(engine)


def in_metrics(port: int, line: str) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return line.encode() in read_all(client)


def test_what_killed_workers_had_at_engines_does_not_count(rig: Rig, engine: FakeEngine) -> None:
    port = free_port()
    process = start_gunicorn(rig, port, 2, queue_wait_s=60)
    try:
        wait_until(lambda: healthy(port))
        with ExitStack() as stack:
            for _ in range(ROOM):
                stack.enter_context(open_stream(rig, body(ENDLESS, stream=True), COMPLETIONS, port))
            wait_until(lambda: len(engine.running) == ROOM)
            for worker in psutil.Process(process.pid).children():
                os.kill(worker.pid, signal.SIGKILL)
            wait_until(lambda: not engine.running)
            wait_until(lambda: healthy(port))
            for _ in range(4):
                client = stack.enter_context(open_stream(rig, body("tokens=2"), COMPLETIONS, port))
                assert read_until(client, b"text_completion").startswith(b"HTTP/1.1 200")
    finally:
        process.terminate()
        process.wait(20)


def test_a_replica_that_fails_again_and_again_is_left_alone(rig: Rig, engine: FakeEngine) -> None:
    opened = f'coderack_gateway_circuits_opened_total{{model="{MODEL}"}}'
    before = rig.figure(opened)
    good = rig.start_engine("narrow-too", MODEL, max_sequences=1)
    rig.wait_for_directory()
    engine.stop()
    statuses = [rig.call("POST", COMPLETIONS, body(f"{number} tokens=1"))[0] for number in range(40)]
    assert set(statuses) == {200}
    assert len(good.bodies) == 40
    # each worker learns for itself
    assert before + 1 <= rig.figure(opened) <= before + 2
    good.stop()


@pytest.mark.parametrize(("status", "opens"), [(400, False), (500, True), (503, True)])
def test_a_replica_that_answers_with_failures_is_one_that_fails(
    rig: Rig, engine: FakeEngine, status: int, opens: bool
) -> None:
    opened = f'coderack_gateway_circuits_opened_total{{model="{MODEL}"}}'
    before = rig.figure(opened)
    for number in range(2 * FAILURES_TO_OPEN):
        rig.call("POST", COMPLETIONS, body(f"{number} tokens=1 status={status}"))
    assert (rig.figure(opened) > before) == opens
    assert rig.call("POST", COMPLETIONS, body("tokens=1"))[0] == 200, "where there is no other"
