"""What must hold when clients leave, engines die or hang, readers stall and the database goes away."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.fakes.replicas import ScriptedReplicas
from tests.inference.gateway.database import add_model
from tests.inference.gateway.parts import KEY, Rig, healthy, start_gunicorn
from tests.inference.gateway.test_answers import events
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"


def open_stream(rig: Rig, body: object, path: str = CHAT, port: int | None = None) -> socket.socket:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(data)}\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", port or rig.port), timeout=20)
    client.sendall(head.encode() + data)
    return client


def generated(rig: Rig) -> tuple[int, int]:
    return (
        sum(engine.prompt_tokens for engine in rig.engines.values()),
        sum(engine.generation_tokens for engine in rig.engines.values()),
    )


def billed(rig: Rig) -> tuple[int, int]:
    records = [one for one in rig.records() if one.replica_id in rig.engines]
    return sum(one.engine_prompt_tokens for one in records), sum(one.completion_tokens for one in records)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("first", [0, 30])
def test_it_aborts_and_bills_exactly_when_the_client_leaves(rig: Rig, stream: bool, first: int) -> None:
    known = {one.request_id for one in rig.records()}
    body = {
        "model": "deepseek-fake",
        "prompt": f"tokens=4000 delay=0.02 first={first}",
        "stream": stream,
        "max_tokens": 4000,
    }
    before, booked = generated(rig), billed(rig)
    client = open_stream(rig, body, "/v1/completions")
    time.sleep(0.5)
    client.close()
    left_at = time.monotonic()
    new = wait_until(lambda: [one for one in rig.records() if one.request_id not in known])
    assert time.monotonic() - left_at < 10, "long before the answer would have ended"
    after = generated(rig)
    assert len(new) == 1
    assert new[0].exact
    assert new[0].outcome == "aborted"
    assert new[0].completion_tokens == after[1] - before[1]
    assert new[0].engine_prompt_tokens == after[0] - before[0] == (0 if first else 7)
    assert (new[0].prompt_tokens == 0) == bool(first)
    time.sleep(0.2)
    assert generated(rig) == after
    assert billed(rig)[1] - booked[1] == after[1] - before[1]


def test_it_counts_only_started_sequences_of_an_aborted_request(rig: Rig) -> None:
    known = {one.request_id for one in rig.records()}
    before = generated(rig)
    with open_stream(rig, rig.chat("tokens=4000 delay=0.02", stream=True, n=3, max_tokens=4000)):
        time.sleep(0.4)
    new = wait_until(lambda: [one for one in rig.records() if one.request_id not in known])
    after = generated(rig)
    assert (new[0].engine_prompt_tokens, new[0].completion_tokens) == (after[0] - before[0], after[1] - before[1])
    assert (new[0].prompt_tokens, new[0].exact) == (7, True)


def test_it_books_a_lower_bound_when_the_engine_does_not_hear_the_abort(rig: Rig) -> None:
    known = {one.request_id for one in rig.records()}
    before = generated(rig)[1]
    with open_stream(rig, rig.chat("tokens=4000 delay=0.02 deaf=1 here", stream=True, max_tokens=4000)):
        time.sleep(0.5)
    new = wait_until(lambda: [one for one in rig.records() if one.request_id not in known])
    assert (new[0].exact, new[0].outcome) == (False, "aborted")
    assert 0 < new[0].completion_tokens <= generated(rig)[1] - before
    assert new[0].prompt_tokens == 4


def test_it_ends_a_stream_with_one_error_event_when_the_engine_dies(rig: Rig) -> None:
    before = rig.figure('coderack_gateway_broken_total{model="deepseek-fake"}')
    status, headers, body = rig.call("POST", CHAT, rig.chat("die=3 tokens=9", stream=True))
    seen = events(body)
    assert status == 200
    assert [event for event in seen if "error" in event] == seen[-1:]
    assert seen[-1]["choices"] == []
    assert set(seen[-1]["error"]) == {"message", "type", "param", "code"}
    record = rig.record(headers["x-request-id"])
    assert (record.outcome, record.exact, record.completion_tokens, record.http_status) == ("failed", False, 3, 200)
    wait_until(lambda: rig.figure('coderack_gateway_broken_total{model="deepseek-fake"}') == before + 1)


def test_it_passes_an_engines_own_error_event_on_without_its_inside(rig: Rig) -> None:
    _, headers, body = rig.call("POST", CHAT, rig.chat("error=2 tokens=9", stream=True))
    seen = events(body)
    assert seen[-1]["choices"] == []
    assert seen[-1]["error"]["code"] == "engine_error"
    assert b"0xdead" not in body
    assert b"[DONE]" not in body
    assert rig.record(headers["x-request-id"]).outcome == "failed"


def test_it_answers_502_when_the_engine_dies_before_a_whole_answer(rig: Rig) -> None:
    status, headers, body = rig.call("POST", CHAT, rig.chat("die=3 tokens=9"))
    assert status in (502, 503)
    assert json.loads(body)["error"]["code"] in ("overloaded", "engine_lost")
    assert rig.record(headers["x-request-id"]).outcome == "failed"


def test_it_tries_a_second_replica_before_the_first_byte(rig: Rig) -> None:
    good, bad = rig.start_engine("good", "fragile"), rig.start_engine("bad", "fragile")
    wait_until(lambda: all(json.loads(rig.call("GET", "/healthz")[2])["ready_replicas"] >= 5 for _ in range(8)))
    bad.stop()
    for _ in range(6):
        assert rig.call("POST", CHAT, rig.chat("tokens=2", model="fragile"))[0] == 200
    good.stop()
    status, headers, body = rig.call("POST", CHAT, rig.chat("tokens=2", model="fragile", stream=True))
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    assert "retry-after" in headers
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE model = 'fragile'")


def test_a_refusal_that_broke_off_leaves_nothing_in_the_second_replicas_answer(rig: Rig) -> None:
    cut, whole = b'{"error": {"message": "cut', b'{"error": {"message": "the prompt is too long", "code": 400}}'
    head = b"HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(whole)
    with contextlib.closing(ScriptedReplicas(rig.root, [head + cut, head + whole])) as replicas:
        for path in replicas.sockets:
            values = (path.stem, f"life-{path.stem}", "fragile", str(path))
            rig.postgres.execute("INSERT INTO gateway_replicas VALUES (%s, %s, %s, %s)", *values)
        rig.wait_for_directory()
        status, _, body = rig.call("POST", CHAT, rig.chat(model="fragile", stream=True))
        rig.postgres.execute("DELETE FROM gateway_replicas WHERE model = 'fragile'")
    assert len(replicas.asked) == 2
    assert (status, json.loads(body)["error"]["message"]) == (400, "the prompt is too long")


def test_it_holds_bounded_memory_for_a_client_that_never_reads(rig: Rig) -> None:
    assert rig.process is not None
    workers = psutil.Process(rig.process.pid).children()
    before = sum(worker.memory_info().rss for worker in workers)
    known = {one.request_id for one in rig.records()}
    body = rig.chat("tokens=4000 pad=50000", stream=True, max_tokens=4000)
    with open_stream(rig, body):
        time.sleep(2)
        assert sum(worker.memory_info().rss for worker in workers) - before < 16 * 1024 * 1024
        new = wait_until(lambda: [one for one in rig.records() if one.request_id not in known], 15)
    assert (new[0].outcome, new[0].exact) == ("aborted", True)


def test_it_serves_from_memory_while_the_database_is_away(rig: Rig) -> None:
    rig.postgres.stop()
    try:
        time.sleep(1)
        assert rig.call("POST", CHAT, rig.chat("tokens=2"))[0] == 200
    finally:
        rig.postgres.start()
    rig.postgres.execute("INSERT INTO gateway_models VALUES ('late', 'coderack', 1, 4096, '', false, NULL, 'late')")
    wait_until(lambda: all(rig.call("GET", "/v1/models/late")[0] == 200 for _ in range(8)))


def test_it_finishes_streams_when_told_to_stop_and_tells_the_rest_once(rig: Rig) -> None:
    from tests.inference.gateway.parts import free_port

    port = free_port()
    process = start_gunicorn(rig, port, 1, graceful_s=4)
    try:
        wait_until(lambda: healthy(port))
        known = {one.request_id for one in rig.records()}
        short = open_stream(rig, rig.chat("tokens=20 delay=0.05", stream=True), port=port)
        long = open_stream(rig, rig.chat("tokens=4000 delay=0.05", stream=True, max_tokens=4000), port=port)
        whole = open_stream(rig, rig.chat("tokens=4000 delay=0.05", max_tokens=4000), port=port)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        answers = [read_all(client) for client in (short, long, whole)]
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(20)
    assert answers[0].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert answers[1].count(b'"error"') == 1
    assert answers[1].endswith(b'"choices":[]}\n\n\r\n0\r\n\r\n')
    assert answers[2].startswith(b"HTTP/1.1 503")
    new = [one for one in rig.records() if one.request_id not in known]
    assert sorted(one.outcome for one in new) == ["completed", "failed", "failed"]
    assert all(one.exact for one in new)


def test_it_closes_the_connection_of_a_request_that_no_slot_can_hold(rig: Rig) -> None:
    name = "m" * 950
    add_model(rig.postgres, name, str(rig.root / "model"))
    engine = rig.start_engine("long", name)
    body = {"model": name, "prompt": "tokens=1", "max_tokens": 1}

    def status() -> bytes:
        with open_stream(rig, body, "/v1/completions") as client:
            return client.recv(12)

    wait_until(lambda: status() == b"HTTP/1.1 500")  # the directory is told of the model a moment later
    wait_until(lambda: engine.num_connections)
    wait_until(lambda: not engine._connections)
    assert engine.generation_tokens == 0


def read_all(client: socket.socket) -> bytes:
    with client:
        received = b""
        while data := client.recv(65536):
            received += data
        return received


def test_a_slow_clients_last_bytes_keep_no_engines_connection(rig: Rig) -> None:
    def connections() -> int:
        return sum(len(engine._connections) for engine in rig.engines.values())

    wait_until(lambda: not connections())
    with open_stream(rig, rig.chat("tokens=1 pad=9000000 merge=1 late=0.5", stream=True)) as client:
        assert client.recv(4096)  # the answer is there, and more of it than the client's and the gateway's buffers take
        wait_until(lambda: not connections())  # read to its end, it is closed when it was idle for long


def test_it_leaves_nothing_unbilled_after_all_of_this(rig: Rig) -> None:
    wait_until(lambda: not any(engine.running for engine in rig.engines.values()))
    records = rig.records()
    assert len({one.request_id for one in records}) == len(records)
    generated_tokens, booked_tokens = generated(rig)[1], billed(rig)[1]
    assert booked_tokens <= generated_tokens
    assert isinstance(rig.journal_dir, Path)
