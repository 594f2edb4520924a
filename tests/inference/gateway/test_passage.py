"""The short way passes exactly what the long one would have passed, and leaves all else to it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.attached import Outside
from inference.gateway.engine import EngineConnection, EnginePool
from inference.gateway.passage import Passage
from inference.gateway.sse import EventStream


class Slot:
    """Remembers what was counted in it."""

    def __init__(self) -> None:
        self._words = memoryview(bytearray(24)).cast("Q")

    def counter(self) -> tuple[memoryview, int]:
        """The same as an open request's."""
        return self._words, 1

    @property
    def events(self) -> int:
        """The count; nothing else was written to."""
        assert self._words[0] == self._words[2] == 0
        return self._words[1]


class Connection:
    """Remembers the reads that a passage leaves to it."""

    def __init__(self) -> None:
        self.left: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Kept."""
        self.left.append(data)


class Collected:
    """What the parser handed on of an answer."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Ignored."""

    def on_data(self, data: bytes) -> None:
        """Kept."""
        self.data += data

    def on_complete(self) -> None:
        """Ignored."""

    def on_lost(self) -> None:
        """Kept."""
        self.lost = True


class Wire:
    """A transport that takes everything. `protocol`: who gets its reads."""

    protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        """From here on."""
        self.protocol = protocol

    def is_closing(self) -> bool:
        """Never."""
        return False

    def write(self, data: bytes) -> None:
        """Gone."""

    def abort(self) -> None:
        """Nothing to end."""

    def resume_reading(self) -> None:
        """Nothing was paused."""


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def event(text: str = "x" * 200) -> bytes:
    return b'data: {"id":"cmpl-1","choices":[{"index":0,"text":"%b"}]}\n\n' % text.encode()


class Stream:
    """A passage with what stands around it."""

    def __init__(self) -> None:
        self.connection, self.slot, self.written = Connection(), Slot(), list[bytes]()
        self.events = EventStream(wants_usage=False, num_sequences=1)
        make: Any = Passage
        self.passage: Passage = make(self.connection, self.events, self.slot, self.written.append)


@pytest.mark.parametrize("num_bytes", [0, 180, 200, 201, 202, 203, 220, 4000])
def test_a_whole_chunk_with_one_event_passes_as_it_came_and_is_counted(num_bytes: int) -> None:
    stream = Stream()
    data = chunk(event("x" * num_bytes))
    stream.passage.data_received(data)
    assert (stream.written, stream.connection.left) == ([data], [])
    assert (stream.events.num_events, stream.slot.events) == (1, 1)


USAGE = b'data: {"id":"cmpl-1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'


@pytest.mark.parametrize(
    "data",
    [
        chunk(USAGE),
        chunk(b"data: [DONE]\n\n"),
        chunk(b'data: {"error":{"message":"no"}}\n\n'),
        chunk(event() + event()),
        chunk(event()) + chunk(event())[:-1],
        chunk(event()) + chunk(USAGE),
        chunk(event()) + chunk(b"data: [DONE]\n\n"),
        chunk(event()) + chunk(event() + event()),
        chunk(event()) + chunk(event()) + b"0\r\n\r\n",
        chunk(event()) + b"0" + chunk(event()),
        chunk(event()) + chunk(event()).replace(b"\r\n", b";a=b\r\n", 1),
        chunk(event())[:-1],
        chunk(event()[:-1]),
        chunk(event()[:-2] + b"\ndata: more\n\n"),
        b"0" + chunk(event()),
        chunk(event()).replace(b"\r\n", b";a=b\r\n", 1),
        chunk(event()).replace(b"\r\n", b"\n", 1),
        chunk(event("x" * 5000)),
        b"0\r\n\r\n",
        b"",
    ],
)
def test_all_else_is_left_to_the_parser(data: bytes) -> None:
    stream = Stream()
    stream.passage.data_received(data)
    assert (stream.written, stream.connection.left) == ([], [data])
    assert (stream.events.num_events, stream.slot.events) == (0, 0)


@pytest.mark.parametrize("texts", [["x" * 200, "y"], ["", "x" * 20, "y" * 3000, "z"]])
def test_several_whole_chunks_with_an_event_each_pass_as_they_came(texts: list[str]) -> None:
    stream = Stream()
    data = b"".join(chunk(event(text)) for text in texts)
    stream.passage.data_received(data)
    assert (stream.written, stream.connection.left) == ([data], [])
    assert (stream.events.num_events, stream.slot.events) == (len(texts), len(texts))


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@given(
    bodies=st.lists(st.sampled_from([event(), event("y" * 40), event() + event(), b"data: [DONE]\n\n"]), max_size=8),
    cuts=st.sets(st.integers(0, 2500), max_size=12),
    at_chunks=st.booleans(),
)
def test_however_reads_fall_the_client_gets_every_byte_once_and_in_order(
    bodies: list[bytes], cuts: set[int], at_chunks: bool
) -> None:
    stream = HEAD + b"".join(map(chunk, bodies)) + b"0\r\n\r\n"
    if at_chunks:  # as engines write: most reads are whole chunks
        at = len(HEAD)
        for body in bodies:
            cuts.add(at)
            at += len(chunk(body))
        cuts.add(at)
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(stream)), len(stream)]
    collected, wire = Collected(), Wire()
    connection = connected(wire)
    connection.send(b"", collected)

    def write(data: bytes) -> None:
        while data:
            size, _, data = data.partition(b"\r\n")
            collected.data += data[: int(size, 16)]
            data = data[int(size, 16) + 2 :]

    connection.shorten(passage_of(connection, write))
    for start, end in pairwise(edges):
        wire.protocol.data_received(stream[start:end])
    assert collected.data == b"".join(bodies)


def connected(wire: Wire) -> EngineConnection:
    connection = EngineConnection(EnginePool(Outside(Path("none"))), "none")
    wire.protocol = connection
    made: Any = wire
    connection.connection_made(made)
    return connection


def passage_of(connection: EngineConnection, write: Callable[[bytes], None]) -> Passage:
    slot: Any = Slot()
    return Passage(connection, EventStream(wants_usage=False, num_sequences=1), slot, write)


def test_reads_go_to_the_passage_between_two_chunks_only() -> None:
    wire, written = Wire(), list[bytes]()
    connection, collected = connected(wire), Collected()
    connection.send(b"", collected)
    passage = passage_of(connection, written.append)
    connection.shorten(passage)
    assert wire.protocol is connection  # no chunk has begun
    for data, way in [
        (HEAD + chunk(event()), passage),
        (chunk(event("1")), passage),
        (chunk(event("2"))[:9], connection),
        (chunk(event("2"))[9:], passage),
        (chunk(event("3")) + chunk(event("4")), passage),
        (chunk(event("5")) + chunk(b"data: [DONE]\n\n"), passage),
        (b"0\r\n\r\n", connection),
    ]:
        wire.protocol.data_received(data)
        assert wire.protocol is way
    assert written == [chunk(event("1")), chunk(event("3")) + chunk(event("4"))]
    assert collected.data == event() + event("2") + event("5") + b"data: [DONE]\n\n"
    connection.send(b"", collected)
    assert wire.protocol is connection


@pytest.mark.parametrize("end", ["shorten", "close"])
def test_once_a_request_has_ended_its_passage_gets_no_read(end: str) -> None:
    wire = Wire()
    connection = connected(wire)
    connection.send(b"", Collected())
    connection.shorten(passage_of(connection, list[bytes]().append))
    wire.protocol.data_received(HEAD + chunk(event()))
    assert wire.protocol is not connection
    if end == "close":
        connection.close()
    else:
        connection.shorten(None)
    assert wire.protocol is connection


def test_a_connection_that_is_lost_meanwhile_is_told_of_it() -> None:
    wire, collected = Wire(), Collected()
    connection = connected(wire)
    connection.send(b"", collected)
    connection.shorten(passage_of(connection, list[bytes]().append))
    wire.protocol.data_received(HEAD + chunk(event()))
    wire.protocol.connection_lost(None)
    assert collected.lost
