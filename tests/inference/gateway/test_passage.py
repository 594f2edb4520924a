"""The short way passes exactly what the long one would have passed, and leaves all else to it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.attached import Outside
from inference.gateway.engine import EngineConnection, EnginePool
from inference.gateway.passage import Passage
from inference.gateway.sse import EventStream


class Slot:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.events = 0

    def count(self, events: int) -> None:
        """The same as an open request's."""
        self.events = events


class Collected:
    """What the parser handed on of an answer."""

    def __init__(self) -> None:
        self.data = b""

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Ignored."""

    def on_data(self, data: bytes) -> None:
        """Kept."""
        self.data += data

    def on_complete(self) -> None:
        """Ignored."""

    def on_lost(self) -> None:
        """Ignored."""


class Wire:
    """A transport that takes everything."""

    def is_closing(self) -> bool:
        """Never."""
        return False

    def write(self, data: bytes) -> None:
        """Gone."""

    def resume_reading(self) -> None:
        """Nothing was paused."""


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def event(text: str = "x" * 200) -> bytes:
    return b'data: {"id":"cmpl-1","choices":[{"index":0,"text":"%b"}]}\n\n' % text.encode()


def passage() -> tuple[Passage, EventStream, Slot, list[bytes]]:
    events, slot, written = EventStream(wants_usage=False, num_sequences=1), Slot(), list[bytes]()
    return Passage(events, slot, written.append), events, slot, written  # type: ignore[arg-type]


@pytest.mark.parametrize("num_bytes", [0, 180, 200, 201, 202, 203, 220, 4000])
def test_a_whole_chunk_with_one_event_passes_as_it_came_and_is_counted(num_bytes: int) -> None:
    short, events, slot, written = passage()
    data = chunk(event("x" * num_bytes))
    assert short.take(data)
    assert written == [data]
    assert (events.num_events, slot.events) == (1, 1)


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
    short, events, slot, written = passage()
    assert not short.take(data)
    assert (written, events.num_events, slot.events) == ([], 0, 0)


@pytest.mark.parametrize("texts", [["x" * 200, "y"], ["", "x" * 20, "y" * 3000, "z"]])
def test_several_whole_chunks_with_an_event_each_pass_as_they_came(texts: list[str]) -> None:
    short, events, slot, written = passage()
    data = b"".join(chunk(event(text)) for text in texts)
    assert short.take(data)
    assert written == [data]
    assert (events.num_events, slot.events) == (len(texts), len(texts))


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
    collected = Collected()
    connection = EngineConnection(EnginePool(Outside(Path("none"))), "none")
    connection.connection_made(Wire())  # type: ignore[arg-type]
    connection.send(b"", collected)
    short, *_ = passage()

    def take(data: bytes) -> bool:
        if short.take(data):
            while data:
                size, _, data = data.partition(b"\r\n")
                collected.data += data[: int(size, 16)]
                data = data[int(size, 16) + 2 :]
            return True
        return False

    connection.shortcut = take
    for start, end in pairwise(edges):
        connection.data_received(stream[start:end])
    assert collected.data == b"".join(bodies)
