"""How the front writes: an answer's head leaves together with what follows it, and at the latest at the end of its turn."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from inference.gateway.front import Front
from inference.gateway.request import Request

ASKED = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass


class Handler:
    """Answers in the steps that a test takes."""

    request: Any = None

    def body_end(self) -> None:
        pass

    def client_lost(self) -> None:
        pass


def asked() -> tuple[Front, Wire]:
    """A front with a request that waits for its answer."""

    def dispatch(front: Front, request: Request) -> Handler:
        return Handler()

    settings = SimpleNamespace(max_body_bytes=1000)
    gateway: Any = SimpleNamespace(
        fronts=set(), draining=False, settings=settings, dispatch=dispatch, loop=asyncio.get_running_loop()
    )
    front, wire = Front(gateway), Wire()
    front.connection_made(wire)
    front.data_received(ASKED)
    return front, wire


def test_a_whole_answer_is_one_write() -> None:
    async def scene() -> list[bytes]:
        front, wire = asked()
        front.respond(200, [(b"content-type", b"text/plain")], b"fine")
        await asyncio.sleep(0)
        return wire.written

    (answer,) = asyncio.run(scene())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"content-length: 4\r\n\r\nfine")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_stream_s_head_leaves_with_its_first_event(version: bytes) -> None:
    async def scene() -> list[bytes]:
        front, wire = asked()
        front._requests[0].version = version.decode()
        front.start(200, [], None)
        front.write(b"one")
        front.write(b"two")
        return wire.written

    head, second = asyncio.run(scene())
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"3\r\none\r\n" if version == b"1.1" else b"\r\n\r\none")
    assert second == (b"3\r\ntwo\r\n" if version == b"1.1" else b"two")


def test_a_head_without_a_body_yet_waits_for_nothing() -> None:
    async def scene() -> list[bytes]:
        front, wire = asked()
        front.start(200, [], None)
        await asyncio.sleep(0)
        return wire.written

    (head,) = asyncio.run(scene())
    assert head.endswith(b"\r\n\r\n")


def test_an_answer_without_a_body_is_its_head() -> None:
    async def scene() -> list[bytes]:
        front, wire = asked()
        front.respond(204, [], b"")
        await asyncio.sleep(0)
        return wire.written

    (head,) = asyncio.run(scene())
    assert head.startswith(b"HTTP/1.1 204 ")


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector_off")
def test_neither_an_answered_request_nor_a_lost_client_waits_for_the_collector() -> None:
    async def scene() -> None:
        front, _ = asked()
        request = front._requests[0]
        handler: Any = request.handler
        handler.request = request  # as all handlers do
        answered = weakref.ref(request)
        del request, handler
        front.respond(200, [], b"fine")
        await asyncio.sleep(0)
        assert answered() is None
        front.connection_lost(None)
        left = weakref.ref(front)
        del front
        await asyncio.sleep(0)
        assert left() is None

    asyncio.run(scene())


@pytest.mark.usefixtures("collector_off")
def test_a_client_that_left_before_its_answer_does_not_wait_for_the_collector() -> None:
    async def scene() -> None:
        front, _ = asked()
        request = front._requests[0]
        handler: Any = request.handler
        handler.request = request
        unanswered = weakref.ref(request)
        del request, handler
        front.connection_lost(None)
        assert unanswered() is None

    asyncio.run(scene())
