"""Servers that the pool did not start, behind a real gateway: TCP, TLS, keys, what they can't do, and hostile ones."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from inference.attached.secrets import ATTACHED, Secrets
from tests.fakes.outside import OutsideServer, make_ca
from tests.inference.gateway.database import add_model
from tests.inference.gateway.parts import Rig
from tests.waiting import wait_until

MODEL = "deepseek-outside"


class Attached:
    """Puts servers into the directory as the appliance does, and takes them out again."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.servers: list[OutsideServer] = []

    def add(self, server: OutsideServer, name: str = MODEL, ca: str | None = None) -> str:
        server.start()
        self.servers.append(server)
        server_id = str(uuid.uuid4())
        Secrets(self.rig.journal_dir.with_name(ATTACHED), server_id).write(server.key or None, ca)
        takes = {name: name not in server.lacks for name in ("priority", "cache_salt", "usage", "aborts")}
        self.rig.postgres.execute(
            "INSERT INTO gateway_replicas VALUES (%s, %s, %s, '', NULL, %s)",
            server_id, f"life-{server_id}", name, Jsonb({"url": server.url, "model": server.base, **takes}),
        )  # fmt: skip
        self.rig.wait_for_directory()
        return server_id

    def clear(self) -> None:
        self.rig.postgres.execute("DELETE FROM gateway_replicas WHERE attached IS NOT NULL")
        self.rig.wait_for_directory()
        for server in self.servers:
            server.stop()
        self.servers.clear()


@pytest.fixture(scope="module")
def modelled(rig: Rig) -> Iterator[Rig]:
    add_model(rig.postgres, MODEL, str(rig.root / "model"))
    yield rig
    rig.postgres.execute("DELETE FROM gateway_models WHERE name = %s", MODEL)


@pytest.fixture
def attached(modelled: Rig) -> Iterator[Attached]:
    found = Attached(modelled)
    yield found
    found.clear()


def test_it_streams_from_a_server_over_tls_with_its_key_and_its_own_name(attached: Attached, tmp_path: Path) -> None:
    rig = attached.rig
    ca, context = make_ca(tmp_path)
    server = OutsideServer("/models/inner", key="sk-inner", tls=context)
    attached.add(server, ca=ca.read_text())
    status, headers, body = rig.call(
        "POST",
        "/v1/chat/completions",
        rig.chat("tokens=4", model=MODEL, stream=True, stream_options={"include_usage": True}),
    )
    assert (status, b"[DONE]" in body) == (200, True)
    assert b"/models/inner" not in body
    events = [json.loads(line[6:]) for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    assert {event["model"] for event in events} == {MODEL}
    assert events[-1]["usage"]["completion_tokens"] == 4
    assert server.bodies[-1]["model"] == "/models/inner"
    assert {"priority", "cache_salt"} <= server.bodies[-1].keys()
    assert server.heads[-1]["authorization"] == "Bearer sk-inner"
    assert server.heads[-1]["host"] == f"127.0.0.1:{server.port}"
    record = rig.record(headers["x-request-id"])
    assert (record.completion_tokens, record.exact, record.model) == (4, True, MODEL)
    answer = rig.call("POST", "/v1/completions", {"model": MODEL, "prompt": "tokens=3", "max_tokens": 9})[2]
    assert (json.loads(answer)["model"], json.loads(answer)["usage"]["completion_tokens"]) == (MODEL, 3)
    assert server.num_connections <= 2, "connections are kept alive"


def test_a_certificate_that_nobody_vouches_for_ends_in_no_request(attached: Attached, tmp_path: Path) -> None:
    rig = attached.rig
    _, context = make_ca(tmp_path)
    server = OutsideServer("m", tls=context)
    attached.add(server)
    status, _, body = rig.call("POST", "/v1/chat/completions", rig.chat(model=MODEL))
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    assert not server.heads


def test_it_sends_no_field_that_a_server_does_not_take(attached: Attached) -> None:
    rig = attached.rig
    server = OutsideServer(MODEL, "priority", "cache_salt", "usage", "aborts")
    attached.add(server)
    status, headers, body = rig.call("POST", "/v1/chat/completions", rig.chat("tokens=6", model=MODEL, stream=True))
    assert (status, b"[DONE]" in body) == (200, True)
    assert not {"priority", "cache_salt", "stream_options"} & server.bodies[-1].keys()
    record = rig.record(headers["x-request-id"])
    assert (record.completion_tokens, record.exact, record.outcome) == (6, False, "completed")


@pytest.mark.parametrize("aborts", [True, False])
def test_a_client_that_leaves_ends_the_work_there(attached: Attached, aborts: bool) -> None:
    rig = attached.rig
    server = OutsideServer(MODEL, *([] if aborts else ["aborts"]))
    attached.add(server)
    connection = rig.connect()
    fields = rig.chat("tokens=2000 delay=0.02", model=MODEL, stream=True, max_tokens=2000)
    connection.request("POST", "/v1/chat/completions", json.dumps(fields), {"authorization": "Bearer sk-owner"})
    answer = connection.getresponse()
    request_id = answer.headers["x-request-id"]
    while b" 3" not in answer.readline():
        pass
    answer.close()
    connection.close()
    record = rig.record(request_id)
    wait_until(lambda: not server.running)
    made = server.made[request_id.removeprefix("req-")]
    assert (record.outcome, record.exact, bool(server.aborted)) == ("aborted", aborts, aborts)
    assert 4 <= record.completion_tokens <= made < 2000
    if aborts:
        assert record.completion_tokens == made


def test_a_server_that_dies_is_left_for_another(attached: Attached) -> None:
    rig = attached.rig
    dead, living = OutsideServer(MODEL), OutsideServer(MODEL)
    attached.add(dead)
    attached.add(living)
    dead.stop()
    for number in range(6):
        status, _, _ = rig.call("POST", "/v1/chat/completions", rig.chat(f"tokens=2 {number}", model=MODEL))
        assert status == 200
    assert len(living.bodies) == 6


def test_it_joins_the_replicas_of_the_pool(attached: Attached) -> None:
    rig = attached.rig
    server = OutsideServer("deepseek-fake")
    attached.add(server, "deepseek-fake")

    def asked() -> int:
        rig.call("POST", "/v1/chat/completions", rig.chat(f"tokens=1 {uuid.uuid4()}"))
        return len(server.bodies)

    wait_until(asked)
    wait_until(lambda: len(rig.engines["one"].bodies) + asked() > 3)


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"x-endless: " + b"a" * 600_000, 503),
        (b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 502),
        (b"\x16\x03\x01 nothing of HTTP\r\n\r\n", 503),
        (b'HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{"usage":{"a":1},"b":[', 502),
        (b'HTTP/1.1 200 OK\r\ncontent-length: 39\r\n\r\n{"usage":{"completion_tokens":"plenty"}}', 502),
    ],
    ids=["endless", "redirect", "other protocol", "half", "words for numbers"],
)
def test_a_hostile_answer_is_the_servers_own_fault(attached: Attached, garbage: bytes, status: int) -> None:
    rig = attached.rig
    server = OutsideServer(MODEL)
    attached.add(server)
    server.garbage = garbage
    told, headers, body = rig.call("POST", "/v1/chat/completions", rig.chat(model=MODEL))
    assert told in {status, 502, 503}, body
    assert json.loads(body)["error"]["message"]
    assert rig.record(headers["x-request-id"]).completion_tokens == 0
    assert rig.call("POST", "/v1/chat/completions", rig.chat("tokens=1"))[0] == 200


def test_a_server_that_exaggerates_is_not_believed_beyond_what_was_asked_for(attached: Attached) -> None:
    rig = attached.rig
    server = OutsideServer(MODEL)
    attached.add(server)
    body = b'{"choices":[],"usage":{"prompt_tokens":99999999,"completion_tokens":99999999}}'
    server.garbage = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    status, headers, _ = rig.call("POST", "/v1/chat/completions", rig.chat(model=MODEL, max_tokens=16))
    record = rig.record(headers["x-request-id"])
    assert (status, record.completion_tokens, record.prompt_tokens, record.exact) == (200, 16, 0, False)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def events(*texts: bytes) -> bytes:
    """Each in a chunk of its own."""
    return b"".join(b"%x\r\ndata: %b\n\n\r\n" % (len(text) + 8, text) for text in texts)


TOKEN = b'{"id":"1","model":"inner","choices":[{"index":0,"delta":{"content":"x"}}]}'


@pytest.mark.parametrize(
    "usage",
    [
        b'{"completion_tokens":"plenty"}',
        b'{"completion_tokens":[1]}',
        b'{"completion_tokens":2,"prompt_tokens":{}}',
        b'{"completion_tokens":2,"prompt_tokens":1,"prompt_tokens_details":"x"}',
        b'{"completion_tokens":2,"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":"x"}}',
        b'{"completion_tokens":1e300}',
        b'{"completion_tokens":-5}',
        b'{"completion_tokens":' + b"9" * 4000 + b"}",
    ],
    ids=["word", "list", "object", "details", "cached", "huge", "negative", "long"],
)
@pytest.mark.parametrize("wants_usage", [True, False])
def test_a_stream_whose_usage_makes_no_sense_ends_and_is_billed_once(
    attached: Attached, usage: bytes, wants_usage: bool
) -> None:
    rig = attached.rig
    server = OutsideServer("inner")
    attached.add(server)
    server.garbage = STREAM_HEAD + events(TOKEN, TOKEN, b'{"choices":[],"usage":' + usage + b"}", b"[DONE]")
    server.garbage += b"0\r\n\r\n"
    options = {"include_usage": wants_usage}
    fields = rig.chat(model=MODEL, stream=True, max_tokens=16, stream_options=options)
    _, headers, body = rig.call("POST", "/v1/chat/completions", fields)
    assert b"inner" not in body
    assert b"[DONE]" in body or b'"error"' in body
    record = rig.record(headers["x-request-id"])
    assert 0 <= record.completion_tokens <= 16
    assert record.prompt_tokens >= 0
    wait_until(lambda: not rig.figure(f'coderack_gateway_in_flight{{model="{MODEL}"}}'))


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_server_tells_ahead_of_its_answer_is_no_answer(attached: Attached, stream: bool) -> None:
    rig = attached.rig
    server = OutsideServer("inner")
    attached.add(server)
    usage = b'{"id":"1","model":"inner","choices":[],"usage":{"prompt_tokens":2,"completion_tokens":2}}'
    unary = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(usage), usage)
    streamed = STREAM_HEAD + events(TOKEN, TOKEN, usage, b"[DONE]") + b"0\r\n\r\n"
    server.garbage = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    server.garbage += streamed if stream else unary
    status, headers, body = rig.call("POST", "/v1/chat/completions", rig.chat(model=MODEL, stream=stream))
    assert (status, b"error" in body, b"inner" in body) == (200, False, False)
    record = rig.record(headers["x-request-id"])
    assert (record.completion_tokens, record.outcome, record.exact) == (2, "completed", True)


def test_an_answer_is_whole_when_its_connection_breaks_behind_its_end(attached: Attached) -> None:
    rig = attached.rig
    server = OutsideServer(MODEL, "usage")
    attached.add(server)
    server.garbage = STREAM_HEAD + events(TOKEN, TOKEN, b"[DONE]") + b"this is no chunk\r\n"
    status, headers, body = rig.call("POST", "/v1/chat/completions", rig.chat(model=MODEL, stream=True))
    assert (status, body.endswith(b"[DONE]\n\n")) == (200, True)
    record = rig.record(headers["x-request-id"])
    assert (record.completion_tokens, record.outcome) == (1, "completed")  # the first event may only tell the role


@pytest.mark.parametrize("chunked", [True, False])
def test_a_connection_that_is_kept_open_behind_the_answers_end_is_closed(attached: Attached, chunked: bool) -> None:
    rig = attached.rig
    server = OutsideServer(MODEL)
    attached.add(server)
    old = b"HTTP/1.0 200 OK\r\n\r\ndata: %b\n\ndata: [DONE]\n\n" % TOKEN
    server.garbage = STREAM_HEAD + events(TOKEN, TOKEN, b"[DONE]") if chunked else old
    status, _, body = rig.call("POST", "/v1/chat/completions", rig.chat(model=MODEL, stream=True))
    assert (status, body.endswith(b"[DONE]\n\n")) == (200, True)
    wait_until(lambda: not server._connections)


def test_a_refusal_that_repeats_the_servers_key_tells_it_to_nobody(attached: Attached) -> None:
    rig = attached.rig
    server = OutsideServer(MODEL, key="sk-inner-secret")
    attached.add(server)
    body = b'{"error":{"message":"Bad key provided: sk-inner-secret.","code":400}}'
    server.garbage = b"HTTP/1.1 400 Bad\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    status, _, answer = rig.call("POST", "/v1/chat/completions", rig.chat(model=MODEL))
    assert (status, json.loads(answer)["error"]["message"]) == (400, "Bad key provided: ***.")
