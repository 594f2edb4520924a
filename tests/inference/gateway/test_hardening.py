"""Faults that were once found in review: each was unanswered, unbounded, cut short or refused wrongly."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference.gateway import inbound
from inference.gateway.app import Gateway
from inference.gateway.directory import Directory, Key
from inference.gateway.errors import ApiError
from inference.gateway.paths import Kind, Target
from inference.gateway.reader import RequestReader
from inference.gateway.request import Request
from inference.gateway.settings import GatewaySettings
from inference.gateway.tokens import chat_texts
from tests.inference.gateway.database import add_key
from tests.inference.gateway.parts import KEY, Rig, free_port, healthy, start_gunicorn
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


class Heard:
    """A reader's sink that only counts."""

    def __init__(self) -> None:
        self.begun = self.whole = 0

    def request_begun(self, request: Request) -> None:
        self.begun += 1

    def request_body(self, body: bytes) -> None:
        pass

    def request_whole(self) -> None:
        self.whole += 1


def post(body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


def slow_client(port: int, receive_bytes: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    return client


def request(kind: Kind) -> Request:
    method = b"POST" if kind is Kind.CHAT else b"GET"
    return Request(method, b"/", Target(kind), [], version="1.1", keep_alive=True, peer="")


def test_it_answers_when_admission_fails_unexpectedly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(inbound, "admit", fail)
    monkeypatch.setattr(inbound, "authenticate", lambda *_: Key("k", "t", 1, 1, None, None))
    refused: list[ApiError] = []
    front: Any = SimpleNamespace(refuse=refused.append)
    settings = SimpleNamespace(max_body_bytes=9)
    gateway: Any = SimpleNamespace(
        directory=Directory(), settings=settings, counter=None, journal=SimpleNamespace(healthy=True)
    )
    handler = inbound.Inbound(gateway, front, request(Kind.CHAT))
    gateway.step = asyncio.run
    handler.body_end()
    assert [(error.status, error.code) for error in refused] == [(500, "internal_error")]


def test_it_counts_only_the_checked_text_of_a_part() -> None:
    parts = [{"type": "refusal", "refusal": "no", "text": {}}, {"type": "text", "text": "yes"}]
    assert chat_texts([{"role": "user", "content": parts}]) == ["no", "yes"]


def test_it_pauses_a_stream_behind_an_answer_that_nobody_reads(rig: Rig) -> None:
    before = sum(engine.generation_tokens for engine in rig.engines.values())
    first = rig.chat("tokens=80 pad=100000", max_tokens=4000)
    with slow_client(rig.port, 8192) as client:
        client.sendall(post(first) + post(rig.chat("tokens=2000 pad=50000", stream=True, max_tokens=4000)))
        time.sleep(2)
        assert sum(engine.generation_tokens for engine in rig.engines.values()) - before <= 80


def test_it_begins_a_waiting_request_when_the_client_has_caught_up(rig: Rig) -> None:
    last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    received = b""
    with slow_client(rig.port, 8192) as client:
        client.sendall(post(rig.chat("tokens=80 pad=100000", max_tokens=4000)) + last)
        time.sleep(1)
        while data := client.recv(1 << 20):
            received += data
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b"ready_replicas" in received[-1000:]


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"5;x="])
def test_it_bounds_trailers_and_extensions(endless: bytes) -> None:
    reader = RequestReader(Heard(), "")
    reader.feed(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + endless)
    for _ in range(3):
        assert reader.feed(b"a" * 16_384)
    with pytest.raises(ApiError) as raised:
        reader.feed(b"a" * 32_768)
    assert raised.value.status == 431


def test_it_does_not_take_a_body_for_the_next_head() -> None:
    heard = Heard()
    reader = RequestReader(heard, "")
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
    assert reader.feed(head + b"x" * 100_000 + b"GET / HT")
    assert reader.feed(b"TP/1.1\r\nhost: x\r\n\r\n")
    assert (heard.begun, heard.whole) == (2, 2)
    with pytest.raises(ApiError):
        reader.feed(b"GET / HTTP/1.1\r\na: " + b"x" * 100_000)


def test_it_finds_the_one_living_replica(rig: Rig) -> None:
    count = json.loads(rig.call("GET", "/healthz")[2])["ready_replicas"] + 3
    dead, gone, alive = (rig.start_engine(name, "fragile") for name in ("dead", "gone", "alive"))
    rig.wait_for_directory()
    assert json.loads(rig.call("GET", "/healthz")[2])["ready_replicas"] >= count
    dead.stop()
    gone.stop()
    answers = [rig.call("POST", CHAT, rig.chat("tokens=2", model="fragile"))[0] for _ in range(12)]
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE model = 'fragile'")
    alive.stop()
    assert answers == [200] * 12


def test_it_lets_a_slow_reader_take_its_answer_before_it_stops(rig: Rig) -> None:
    port = free_port()
    process = start_gunicorn(rig, port, 1, graceful_s=10, stall_timeout_s=60)
    wait_until(lambda: healthy(port))
    with slow_client(port, 65536) as client:
        client.sendall(post(rig.chat("tokens=100 pad=100000", max_tokens=4000)))
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        received = b""
        while data := client.recv(1 << 18):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    assert found is not None
    assert len(body) == int(found[1])
    assert process.wait(15) == 0


def test_it_says_that_it_is_starting_before_the_first_load(tmp_path: Path) -> None:
    settings = GatewaySettings(
        "", 0, 1, tmp_path / "c", "host=/nonexistent", tmp_path, b"", "unix:///nonexistent", tmp_path, tmp_path,
        tmp_path / "board",
    )  # fmt: skip

    async def dispatch() -> None:
        gateway = Gateway(settings)
        front: Any = None
        for kind in (Kind.CHAT, Kind.MODELS):
            with pytest.raises(ApiError) as raised:
                gateway.dispatch(front, request(kind))
            assert (raised.value.status, raised.value.code) == (503, "overloaded")
        gateway.dispatch(front, request(Kind.HEALTH))
        await gateway.stop(0)

    asyncio.run(dispatch())


def test_a_stop_waits_for_what_an_ended_request_began(tmp_path: Path) -> None:
    settings = GatewaySettings(
        "", 0, 1, tmp_path / "c", "host=/nonexistent", tmp_path / "journal", b"", "unix:///nonexistent", tmp_path,
        tmp_path, tmp_path / "board",
    )  # fmt: skip
    billed: list[str] = []

    async def stop() -> None:
        gateway = Gateway(settings)

        async def count() -> None:
            await asyncio.sleep(0.3)
            billed.append("counted")

        async def abort() -> None:
            gateway.spawn(count())

        gateway.spawn(abort())
        await gateway.stop(0)

    asyncio.run(stop())
    assert billed == ["counted"]


def test_it_leaves_room_for_an_answer_beside_tools(rig: Rig) -> None:
    function = {"name": "f", "description": "word " * 60, "parameters": {}}
    tools = [{"type": "function", "function": function}] * 14
    assert rig.call("POST", CHAT, rig.chat("tokens=9 tools", tools=tools))[0] == 200
    sent = [one for engine in rig.engines.values() for one in engine.bodies if one.get("tools") == tools]
    assert [one["max_tokens"] for one in sent] == [256]


def test_it_fills_in_the_start_of_a_file(rig: Rig) -> None:
    body = {"model": "deepseek-fim", "prompt": "", "suffix": "return 1"}
    assert rig.call("POST", COMPLETIONS, body)[0] == 200
    assert rig.call("POST", COMPLETIONS, {**body, "suffix": ""})[0] == 400


def test_it_follows_the_database_after_a_row_it_cannot_read(rig: Rig) -> None:
    rig.postgres.execute("INSERT INTO gateway_models VALUES ('bad', 'c', 1, 4096, NULL, false, NULL, 'bad')")
    time.sleep(0.5)
    assert rig.call("GET", "/v1/models")[0] == 200
    rig.postgres.execute("DELETE FROM gateway_models WHERE name = 'bad'")
    add_key(rig.postgres, "sk-later", "owner")
    later = "Bearer sk-later"
    rig.wait_for_directory()
    assert rig.call("GET", "/v1/models", authorization=later)[0] == 200


def test_it_times_a_body_out_once_and_names_the_request(rig: Rig) -> None:
    log = rig.root / f"gateway-{rig.port}.log"
    with slow_client(rig.port, 65536) as client:
        client.sendall(post(rig.chat())[:-5])
        answer = client.recv(65536)
        time.sleep(2.2)
    assert answer.startswith(b"HTTP/1.1 408")
    assert re.search(rb"\r\nx-request-id: req-[0-9a-f]{32}\r\n", answer)
    assert "sweeping a connection failed" not in log.read_text()


def test_it_counts_dropped_fields_by_known_names(rig: Rig) -> None:
    def dropped() -> dict[str, float]:
        text = rig.call("GET", "/metrics")[2].decode()
        found = re.findall(r'coderack_gateway_dropped_fields_total\{field="(\w+)"\} (\S+)', text)
        return {name: float(value) for name, value in found}

    before = dropped()
    assert rig.call("POST", CHAT, rig.chat(odd1=1, odd2=2, odd3=3, user="u"))[0] == 200
    after = dropped()
    assert after["unknown"] - before.get("unknown", 0) == 3
    assert after["user"] - before.get("user", 0) == 1
    assert not any(name.startswith("odd") for name in after)
