"""`/metrics/{process}`: the pages of the other processes through the gateway's port, and only those."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.gateway.paths import PROCESSES, Kind, classify
from inference.metrics.page import close, serve
from tests.inference.gateway.parts import Rig


@pytest.fixture
def sockets(rig: Rig) -> Path:
    return rig.console_socket.parent / "metrics"


@pytest.fixture
def answering(sockets: Path) -> Iterator[list[bytes]]:
    """A process that answers each connection with these bytes, whatever they are."""
    answers: list[bytes] = []
    sockets.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sockets / "worker.sock"))
        listener.listen()

        def serve_all() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:
                    return
                with client, contextlib.suppress(OSError):  # who gave up does not read on
                    client.recv(1024)
                    client.sendall(answers[0])

        thread = threading.Thread(target=serve_all, daemon=True)
        thread.start()
        yield answers
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)
    (sockets / "worker.sock").unlink()


def test_it_hands_on_a_page_of_a_megabyte_whole(rig: Rig, sockets: Path) -> None:
    text = b"".join(b'coderack_x{number="%d"} 1\n' % number for number in range(40_000))
    page = serve(sockets / "pool.sock", lambda: text)
    try:
        status, headers, body = rig.call("GET", "/metrics/pool", authorization="")
    finally:
        close(page)
    assert (status, body == text) == (200, True)
    assert headers["content-type"].startswith("text/plain; version=0.0.4")


def test_it_says_so_when_the_process_is_not_there(rig: Rig) -> None:
    status, _, body = rig.call("GET", "/metrics/meter")
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\na 1\n",
        b"HTTP/1.0 500 Oh\r\nContent-Length: 4\r\n\r\na 1\n",
        b"HTTP/1.0 200 OK\r\n\r\na 1\n",
        b"nonsense",
    ],
)
def test_a_page_that_is_not_whole_is_not_shown(rig: Rig, answering: list[bytes], answer: bytes) -> None:
    answering.append(answer)
    assert rig.call("GET", "/metrics/worker")[0] == 503


def test_a_page_without_end_is_given_up(rig: Rig, answering: list[bytes]) -> None:
    answering.append(b"HTTP/1.0 200 OK\r\nContent-Length: 6000000\r\n\r\n" + b"x" * 6_000_000)
    assert rig.call("GET", "/metrics/worker")[0] == 503


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_forwarded_proto"])
def test_through_a_proxy_there_is_nothing(rig: Rig, header: str) -> None:
    assert rig.call("GET", "/metrics/meter", **{header: "1.2.3.4"})[0] == 404


def test_it_takes_get_and_head_only(rig: Rig) -> None:
    status, headers, _ = rig.call("POST", "/metrics/meter", b"x")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["/metrics/x", "/metrics/pool.sock", "/metrics/Pool", "/metrics/pool/x", "/metrics/%70ool", "/metrics/"]
)
def test_no_other_name_reaches_a_socket(path: str) -> None:
    assert classify(path.encode()).kind is not Kind.PROCESS_METRICS


def test_every_process_has_its_address() -> None:
    for name in PROCESSES:
        assert classify(f"/metrics/{name}".encode()).name == name
