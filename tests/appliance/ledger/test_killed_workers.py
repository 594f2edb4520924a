"""A gateway worker killed at each moment of a request: one row or none, nothing reserved, nobody billed too much."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]
import pytest

from appliance.ledger.models import LedgerEntry
from inference.failpoints import VARIABLE
from tests.appliance.ledger.conftest import MODEL, BookedRig
from tests.fakes.replicas import ScriptedReplicas
from tests.inference.gateway.parts import KEY
from tests.waiting import wait_until


def ask(rig: BookedRig, orders: str, *, stream: bool = True) -> socket.socket:
    body = json.dumps(rig.chat(orders, stream=stream, max_tokens=4000)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    client = socket.create_connection(("127.0.0.1", rig.port), timeout=60)
    client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return client


def read_until(client: socket.socket, is_enough: Callable[[bytes], bool] = lambda _: False) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while not is_enough(received) and (data := client.recv(65536)):
            received += data
    return received


def kill_worker(rig: BookedRig) -> None:
    assert rig.process is not None
    [worker] = psutil.Process(rig.process.pid).children()
    worker.kill()
    worker.wait(30)  # a table is its writer's as long as that one can be seen


def generated(rig: BookedRig) -> int:
    return sum(engine.generation_tokens for engine in rig.engines.values())


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("gateway.before_reserving", []),
        ("gateway.reserved", []),
        ("gateway.before_booking", [(5, 0, "lost", False)]),
        ("gateway.booked", [(5, 7, "completed", True)]),
    ],
)
def test_killed_at_a_step(where: str, rows: list[object], booked: BookedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, where)
    booked.start_gateway(workers=1)
    with ask(booked, "tokens=5") as client:
        received = read_until(client)
    assert b"[DONE]" not in received
    booked.settle()
    entries = LedgerEntry.objects.values_list("completion_tokens", "prompt_tokens", "outcome", "exact")
    assert list(entries) == rows
    assert generated(booked) == (5 if rows else 0)
    assert booked.used_today() == sum(row.completion_tokens + row.prompt_tokens for row in LedgerEntry.objects.all())
    booked.settle()
    assert LedgerEntry.objects.count() == len(rows)


def test_killed_after_the_engine_call(booked: BookedRig) -> None:
    booked.start_gateway(workers=1)
    with ask(booked, "tokens=5 first=60", stream=False) as client:
        wait_until(lambda: any(engine.running for engine in booked.engines.values()))
        kill_worker(booked)
        read_until(client)
    booked.settle()
    [row] = LedgerEntry.objects.all()
    assert (row.completion_tokens, row.prompt_tokens, row.outcome, row.http_status) == (0, 0, "lost", 503)
    assert str(row.life_id) in booked.lives.values()
    assert (generated(booked), booked.used_today()) == (0, 0)


def test_killed_in_the_middle_of_a_stream(booked: BookedRig) -> None:
    booked.start_gateway(workers=1)
    with ask(booked, "tokens=4000 delay=0.02") as client:
        received = read_until(client, lambda data: data.count(b'"delta":{"content"') >= 3)
        kill_worker(booked)
        received += read_until(client)
    booked.settle()
    [row] = LedgerEntry.objects.all()
    delivered = received.count(b'"delta":{"content"')
    assert 3 <= delivered <= row.completion_tokens <= generated(booked)
    assert (row.prompt_tokens, row.engine_prompt_tokens, row.exact, row.http_status) == (0, 0, False, 200)
    assert booked.used_today() == row.completion_tokens


def test_killed_while_a_second_replica_has_the_request(booked: BookedRig) -> None:
    for name in ("one", "two"):
        booked.remove_engine(name)
    with contextlib.closing(ScriptedReplicas(booked.root, [b""])) as replicas:
        lives = {path: booked.add_socket(path.stem, MODEL, path) for path in replicas.sockets}
        booked.start_gateway(workers=1)
        with ask(booked, "tokens=5", stream=False) as client:
            wait_until(lambda: len(replicas.asked) == 2)
            kill_worker(booked)
            read_until(client)
        booked.settle()
    [row] = LedgerEntry.objects.all()
    assert replicas.asked[0] != replicas.asked[1]
    assert str(row.life_id) == lives[replicas.asked[1]]
    assert (row.completion_tokens, row.prompt_tokens, row.outcome) == (0, 0, "lost")
