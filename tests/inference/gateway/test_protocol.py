"""HTTP/1.1 at the front: framing, keep-alive, pipelining, limits, tricks with paths and headers, and the console."""

from __future__ import annotations

import json
import socket
import time

import pytest

from inference.gateway.directory_feed import POLL_S
from tests.inference.gateway.parts import KEY, Rig

AUTH = f"authorization: Bearer {KEY}\r\n"


def raw(rig: Rig, *pieces: bytes, pause_s: float = 0.0, timeout_s: float = 10) -> bytes:
    """Send pieces, read until the gateway closes (or says nothing for a while)."""
    with socket.create_connection(("127.0.0.1", rig.port), timeout=timeout_s) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(pause_s)
        received = b""
        client.settimeout(timeout_s)
        try:
            while data := client.recv(65536):
                received += data
        except TimeoutError:
            pass
        return received


def post(path: str, body: bytes, more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{AUTH}content-length: {len(body)}\r\n{more}\r\n".encode() + body


def test_it_decides_per_request_on_one_connection(rig: Rig) -> None:
    connection = rig.connect()
    headers = {"authorization": f"Bearer {KEY}"}
    for _ in range(3):
        for method, path, body in (
            ("POST", "/v1/chat/completions", json.dumps(rig.chat("tokens=2", stream=True))),
            ("GET", "/console/pages", None),
            ("POST", "/v1/completions", json.dumps({"model": "deepseek-fake", "prompt": "tokens=2"})),
            ("GET", "/v1/models", None),
            ("POST", "/v1/files", "some bytes"),
        ):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            assert response.status == 200
            assert response.read()
            sock = connection.sock
            assert sock is not None
    connection.close()


def test_it_answers_pipelined_requests_in_order(rig: Rig) -> None:
    body = json.dumps(rig.chat("tokens=2 first=0.2")).encode()
    get = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = raw(rig, post("/v1/chat/completions", body) + get + post("/up", b"abc") + get + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 5
    order = [answer.index(mark) for mark in (b"chat.completion", b"ready_replicas", b'"/up"', b'"/last"')]
    assert order == sorted(order)


def test_it_reads_chunked_bodies_and_bytes_one_by_one(rig: Rig) -> None:
    body = json.dumps(rig.chat("tokens=2")).encode()
    line = "POST /v1/chat/completions HTTP/1.1\r\n"
    head = f"{line}host: x\r\n{AUTH}transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    chunked = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in body) + b"0\r\ntrailer: x\r\n\r\n"
    assert raw(rig, head.encode() + chunked).startswith(b"HTTP/1.1 200")
    pieces = [bytes([byte]) for byte in head.encode() + chunked]
    assert raw(rig, *pieces).startswith(b"HTTP/1.1 200")


def test_it_answers_an_expectation_before_the_body(rig: Rig) -> None:
    body = json.dumps(rig.chat("tokens=2")).encode()
    head, payload = post("/v1/chat/completions", body, "expect: 100-continue\r\nconnection: close\r\n").split(
        b"\r\n\r\n"
    )
    answer = raw(rig, head + b"\r\n\r\n", payload, pause_s=0.3)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    refused = raw(rig, (head + b"\r\n\r\n").replace(KEY.encode(), b"sk-wrong"), pause_s=0.3)
    assert refused.startswith(b"HTTP/1.1 401")


def test_it_refuses_a_large_body_before_reading_it(rig: Rig) -> None:
    size = 64 * 1024 * 1024
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{AUTH}content-length: {size}\r\n\r\n".encode()
    answer = raw(rig, head, b"x" * 200_000, pause_s=0.1)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"request_too_large"' in answer
    status, _, _ = rig.call("POST", "/v1/completions", b"x" * 3_000_000)
    assert status == 413
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{AUTH}transfer-encoding: chunked\r\n\r\n".encode()
    assert raw(rig, head, *[chunk] * 20).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../pause",
        "/v1/%2e%2e/pause",
        "/v1/%2E./pause",
        "/v1/chat/completions/../../pause",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/./completions",
        "/v1/chat%2f..%2fpause",
        "/v1\\chat\\completions",
        "/..",
        "/v1/completions/%2e%2e%2fpause",
        "http://x/v1/completions",
        "/v1/completions/%00",
    ],
)
def test_it_leads_path_tricks_nowhere(rig: Rig, path: str) -> None:
    before = sum(len(engine.bodies) for engine in rig.engines.values())
    body = json.dumps({"model": "deepseek-fake", "prompt": "x"}).encode()
    assert raw(rig, post(path, body, "connection: close\r\n")).startswith(b"HTTP/1.1 404")
    assert sum(len(engine.bodies) for engine in rig.engines.values()) == before


@pytest.mark.parametrize(
    "path",
    [
        "/pause",
        "/sleep",
        "/v1/load_lora_adapter",
        "/inference/v1/abort_requests",
        "/v1%2fcompletions",
        "/V1/completions",
        "/v1/completions;x",
        "/v1/completions/render",
        "/metrics/x",
    ],
)
def test_it_sends_unknown_paths_to_the_console_only(rig: Rig, path: str) -> None:
    before = sum(engine.num_connections for engine in rig.engines.values())
    seen = json.loads(rig.call("POST", path, b"x")[2])
    assert seen["path"] == path
    assert sum(engine.num_connections for engine in rig.engines.values()) == before


def test_it_uses_an_engines_connection_again(rig: Rig) -> None:
    connection = rig.connect()
    before = sum(engine.num_connections for engine in rig.engines.values())
    for number in range(20):
        body = json.dumps(rig.chat("tokens=2", stream=number % 2 == 0))
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.close()
    # one client connection means one worker: at most one connection to each replica
    assert sum(engine.num_connections for engine in rig.engines.values()) - before <= len(rig.engines)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"NOPE / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c: folded\r\n\r\n",
    ],
)
def test_it_refuses_what_is_no_clean_request(rig: Rig, request_bytes: bytes) -> None:
    assert raw(rig, request_bytes).startswith(b"HTTP/1.1 400")


def test_it_bounds_a_requests_head(rig: Rig) -> None:
    assert raw(rig, b"GET / HTTP/1.1\r\nhost: x\r\n", b"a: " + b"x" * 100_000).startswith(b"HTTP/1.1 431")
    many = b"".join(b"h%d: x\r\n" % number for number in range(200))
    assert raw(rig, b"GET / HTTP/1.1\r\nhost: x\r\n" + many + b"\r\n").startswith(b"HTTP/1.1 431")
    assert raw(rig, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 414")


def test_it_gives_up_on_a_client_that_sends_too_slowly(rig: Rig) -> None:
    assert raw(rig, b"GET / HTTP/1.1\r\nhos", pause_s=3.5).startswith(b"HTTP/1.1 408")
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\n{AUTH}content-length: 50\r\n\r\nabc".encode()
    assert raw(rig, head, pause_s=3.5).startswith(b"HTTP/1.1 408")


def test_it_upgrades_nothing(rig: Rig) -> None:
    more = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
    answer = raw(rig, f"GET /healthz HTTP/1.1\r\nhost: x\r\n{more}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200")
    seen = raw(rig, f"GET /page HTTP/1.1\r\nhost: x\r\n{more}\r\n".encode())
    assert b"h2c" not in seen
    assert raw(rig, b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n").startswith(b"HTTP/1.1 404")


def test_it_speaks_http_1_0(rig: Rig) -> None:
    body = json.dumps(rig.chat("tokens=2", stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.0\r\n{AUTH}content-length: {len(body)}\r\n\r\n"
    answer = raw(rig, head.encode() + body)
    assert b"chunked" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


def test_it_sets_the_forwarding_headers_itself(rig: Rig) -> None:
    status, headers, body = rig.call(
        "GET",
        "/page?q=1",
        x_forwarded_for="6.6.6.6",
        x_forwarded_proto="https",
        x_request_id="theirs",
        forwarded="for=6.6.6.6",
        x_real_ip="6.6.6.6",
        x_forwarded_user="admin",
        connection="x-drop",
        x_drop="1",
        te="trailers",
    )
    seen = {name.lower(): value for name, value in json.loads(body)["headers"].items()}
    assert status == 200
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert seen["x-forwarded-host"] == seen["host"] == f"127.0.0.1:{rig.port}"
    assert seen["x-request-id"] == headers["x-request-id"] != "theirs"
    assert not {"forwarded", "x-real-ip", "x-forwarded-user", "x-drop", "te"} & seen.keys()
    assert "x-secret" not in headers
    assert "server" not in headers


def test_it_streams_both_ways_through_the_console(rig: Rig) -> None:
    assert json.loads(rig.call("POST", "/v1/files", b"x" * 20_000_000)[2])["bytes"] == 20_000_000
    assert len(rig.call("GET", "/big")[2]) == 32 * 1024 * 1024
    head = b"POST /up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    assert b'"bytes": 10' in raw(rig, head, b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n", pause_s=0.1)
    assert rig.call("HEAD", "/page")[0] == 200
    assert rig.call("POST", "/early", b"x" * 5_000_000)[0] == 413


def test_it_keeps_both_cookies(rig: Rig) -> None:
    assert raw(rig, b"GET /page HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").lower().count(b"set-cookie") == 2


def test_it_says_that_the_console_is_away(rig: Rig) -> None:
    rig.stop_console()
    try:
        for path in ("/v1/files", "/files", "/fine_tuning/jobs", "/organization/costs", "/user/balance"):
            status, headers, body = rig.call("GET", path)
            assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
        status, headers, body = rig.call("POST", "/console/login", b"x=1")
        assert (status, headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert rig.call("POST", "/v1/chat/completions", rig.chat())[0] == 200
    finally:
        rig.start_console()


def test_it_shows_metrics_only_on_this_machine(rig: Rig) -> None:
    rig.call("POST", "/v1/chat/completions", rig.chat("tokens=2"))
    status, _, body = rig.call("GET", "/metrics")
    assert status == 200
    assert b"coderack_gateway_requests_total" in body
    assert b"owner" not in body
    assert rig.call("GET", "/metrics", x_forwarded_for="1.2.3.4")[0] == 404


def test_it_reports_health_without_a_key(rig: Rig) -> None:
    status, _, body = rig.call("GET", "/healthz", authorization="")
    assert (status, json.loads(body)["status"]) == (200, "ok")


def test_it_refuses_a_revoked_key_at_once(rig: Rig) -> None:
    from tests.inference.gateway.database import add_key, digest

    add_key(rig.postgres, "sk-gone", "owner")
    rig.wait_for_directory()
    assert rig.call("GET", "/v1/models", authorization="Bearer sk-gone")[0] == 200
    rig.postgres.execute("DELETE FROM gateway_keys WHERE digest = %s", digest("sk-gone"))
    revoked_at = time.monotonic()
    rig.wait_for_directory()
    assert rig.call("GET", "/v1/models", authorization="Bearer sk-gone")[0] == 401
    assert time.monotonic() - revoked_at < POLL_S, "it was told, and did not look by itself"
