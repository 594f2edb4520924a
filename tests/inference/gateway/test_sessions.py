"""Editor sessions: the newest request of one ends the older one, in the same worker and in another, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.gateway.errors import ApiError
from inference.gateway.sessions import MAX_NAME_BYTES, Sessions, name_of, now
from tests.fakes.engine import FakeEngine
from tests.inference.gateway.database import add_key, add_model
from tests.inference.gateway.parts import KEY, OTHER_KEY, Rig
from tests.waiting import wait_until

PATH = "/beta/completions"
MODEL, NARROW = "deepseek-fim", "deepseek-typing"
SCOPE = ("key", "model")


class Editing:
    """Stands for a request of a session."""

    def __init__(self) -> None:
        self.ended = False

    def supersede(self) -> None:
        assert not self.ended
        self.ended = True


def two_workers(root: Path, play: Callable[[Sessions, Sessions], Awaitable[None]]) -> None:
    async def run() -> None:
        one, other = (Sessions(root / "sessions", b"secret") for _ in range(2))
        await play(one, other)
        one.close()
        other.close()

    asyncio.run(run())


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():
            await asyncio.sleep(0.001)


def test_the_newer_request_ends_the_older_in_its_own_worker_at_once_and_in_another_soon(tmp_path: Path) -> None:
    async def play(one: Sessions, other: Sessions) -> None:
        first, second, third = Editing(), Editing(), Editing()
        one.claim(SCOPE, b"window", 1.0, first)
        one.claim(SCOPE, b"window", 2.0, second)
        assert (first.ended, second.ended) == (True, False)
        other.claim(SCOPE, b"window", 3.0, third)
        await until(lambda: second.ended)
        assert not third.ended
        await until(lambda: not len(one))
        assert len(other) == 1

    two_workers(tmp_path, play)


def test_a_request_that_comes_to_its_turn_late_is_itself_the_older(tmp_path: Path) -> None:
    async def play(one: Sessions, other: Sessions) -> None:
        newer = Editing()
        one.claim(SCOPE, b"window", 2.0, newer)
        for worker in (one, other):
            with pytest.raises(ApiError) as raised:
                worker.claim(SCOPE, b"window", 1.0, Editing())
            assert raised.value.code == "superseded"
        assert not newer.ended

    two_workers(tmp_path, play)


def test_other_keys_models_and_names_are_other_sessions(tmp_path: Path) -> None:
    async def play(one: Sessions, other: Sessions) -> None:
        mine = Editing()
        one.claim(SCOPE, b"window", 1.0, mine)
        others = [(("key2", "model"), b"window"), (("key", "model2"), b"window"), (SCOPE, b"window2")]
        # Names that would be the same if all were written one after the other.
        hostile = [
            (("key\nmodel",), b"window"),
            (("key",), b"model\0window"),
            (SCOPE, b"\0window"),
            (SCOPE, b"\nwindow"),
        ]
        for scope, name in (*others, *hostile):
            other.claim(scope, name, 2.0, Editing())
        last = Editing()
        other.claim(("else", "model"), b"window", 3.0, last)
        other.claim(("else", "model"), b"window", 4.0, Editing())
        assert last.ended
        one._look()
        assert not mine.ended

    two_workers(tmp_path, play)


def test_what_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    async def play(one: Sessions, other: Sessions) -> None:
        done = Editing()
        one.claim(SCOPE, b"window", 5.0, done)
        done.ended = True
        await until(lambda: not len(one))
        assert not any(one._words[1:])
        other.claim(SCOPE, b"window", 4.0, Editing())  # no older one is there to be newer than this

    two_workers(tmp_path, play)


def test_a_newer_request_that_is_done_at_once_ends_the_older_in_another_worker(tmp_path: Path) -> None:
    async def play(one: Sessions, other: Sessions) -> None:
        older, newer = Editing(), Editing()
        one.claim(SCOPE, b"window", 1.0, older)
        other.claim(SCOPE, b"window", 2.0, newer)
        newer.ended = True
        other._look()
        await until(lambda: older.ended)

    two_workers(tmp_path, play)


def test_what_a_killed_worker_left_ends_nobody_after_a_while(tmp_path: Path) -> None:
    async def play(one: Sessions, other: Sessions) -> None:
        one.claim(SCOPE, b"window", 10_000.0, Editing())
        after_the_start = Editing()
        other.claim(SCOPE, b"window", 1.0, after_the_start)
        other._look()
        assert not after_the_start.ended

    two_workers(tmp_path, play)


def test_a_name_is_a_text_of_bounded_length() -> None:
    assert name_of(b"window", "body") == b"window"
    assert name_of(None, "body") == b"body"
    most = MAX_NAME_BYTES
    for header, field in ((b"", "body"), (b"x" * (most + 1), None), (None, "\u00e9" * most), (None, 5), (None, None)):
        assert name_of(header, field) is None
    assert name_of(None, "x" * most) == b"x" * most


# --- through the gateway


class Asking(threading.Thread):
    """A request of an editor, which runs until something ends it."""

    def __init__(self, rig: Rig, session: str = "", *, by_body: bool = False, **fields: Any) -> None:
        super().__init__(daemon=True)
        self.mark = uuid.uuid4().hex
        body = {"model": MODEL, "prompt": f" {self.mark} hang=2 tokens=9 ", "suffix": " x", **fields}
        headers = {"authorization": f"Bearer {fields.pop('key', KEY)}"}
        body.pop("key", None)
        if by_body:
            body["session_id"] = session
        elif session:
            headers["x_session_id"] = session
        self._rig, self._body, self._headers = rig, body, headers
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.start()

    def run(self) -> None:
        self.answer = self._rig.call("POST", PATH, self._body, **self._headers)

    @property
    def error(self) -> dict[str, Any]:
        assert self.answer is not None
        found: dict[str, Any] = json.loads(self.answer[2].decode().strip().splitlines()[-1].removeprefix("data: "))
        return found


def at_engine(rig: Rig, asking: Asking) -> bool:
    return any(asking.mark in str(body.get("prompt")) for body in rig.engines["fim"].bodies)


def begun(rig: Rig, session: str, **more: Any) -> Asking:
    asking = Asking(rig, session, **more)
    wait_until(lambda: at_engine(rig, asking))
    return asking


def let_go(engine: FakeEngine) -> None:
    """End what hangs there."""
    for event in list(engine.running.values()):
        engine._loop.call_soon_threadsafe(event.set)


def finish(rig: Rig, *sessions: str, **more: Any) -> None:
    """End what hangs in these sessions with requests that end by themselves."""
    for session in sessions:
        assert (
            rig.call("POST", PATH, {"model": MODEL, "prompt": "a", "suffix": "b", **more}, x_session_id=session)[0]
            == 200
        )


def test_an_unary_request_that_is_superseded_is_refused_for_good_and_billed_what_was_made(rig: Rig) -> None:
    old = begun(rig, "unary")
    engine = rig.engines["fim"]
    wait_until(lambda: any(engine.made.values()))
    finish(rig, "unary")
    old.join(20)
    assert old.answer is not None
    status, headers, _ = old.answer
    assert (status, old.error["error"]["code"], headers["x-should-retry"]) == (400, "superseded", "false")
    record = rig.record(headers["x-request-id"])
    assert (record.outcome, record.exact) == ("aborted", True)
    bare = headers["x-request-id"].removeprefix("req-")
    assert record.completion_tokens == engine.made[bare] == 2
    assert f"cmpl-{bare}-0" in engine.aborted


def test_a_stream_that_is_superseded_ends_with_one_error_event(rig: Rig) -> None:
    old = begun(rig, "stream", stream=True)
    wait_until(lambda: any(name.startswith("cmpl-") for name in rig.engines["fim"].running))
    finish(rig, "stream")
    old.join(20)
    assert old.answer is not None
    assert old.answer[0] in (200, 400)  # whether its first event was out already
    assert old.error["error"]["code"] == "superseded"
    record = rig.record(old.answer[1]["x-request-id"])
    assert (record.outcome, record.exact) == ("aborted", True)


def test_it_works_whichever_workers_the_requests_come_to(rig: Rig) -> None:
    names = [f"spread-{number}" for number in range(10)]
    old = [begun(rig, name) for name in names]
    finish(rig, *names)
    for one in old:
        one.join(20)
        assert one.error["error"]["code"] == "superseded"
    wait_until(lambda: not rig.engines["fim"].running)
    wait_until(lambda: rig.figure('coderack_gateway_superseded_total{model="deepseek-fim"}') >= len(names))


def test_the_session_may_stand_in_the_body(rig: Rig) -> None:
    old = begun(rig, "in-body", by_body=True)
    finish(rig, "in-body")
    old.join(20)
    assert old.error["error"]["code"] == "superseded"
    assert "session_id" not in rig.engines["fim"].bodies[-1]


def test_others_of_the_same_name_go_on(rig: Rig) -> None:
    """Another tenant's, another key's, one without a name, and what is no filling in."""
    add_key(rig.postgres, "sk-second", "owner")
    rig.wait_for_directory()
    others = [begun(rig, "same", key=OTHER_KEY), begun(rig, "same", key="sk-second"), begun(rig, "")]
    others.append(begun(rig, "same", suffix=None))
    mine = begun(rig, "same")
    finish(rig, "same")
    mine.join(20)
    assert mine.error["error"]["code"] == "superseded"
    assert all(one.answer is None for one in others)
    let_go(rig.engines["fim"])
    for one in others:
        one.join(20)
        assert one.answer is not None
        assert one.answer[0] == 200


@pytest.fixture
def narrow(rig: Rig) -> Iterator[None]:
    """A model whose only replica runs one request at once, so that a third has to wait."""
    add_model(rig.postgres, NARROW, str(rig.root / "model"), fim=True)
    engine = rig.start_engine("narrow-sessions", NARROW, max_sequences=1)
    rig.wait_for_directory()
    yield
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE model = %s", NARROW)
    rig.wait_for_directory()
    wait_until(lambda: not engine.running)
    engine.stop()
    rig.postgres.execute("DELETE FROM gateway_models WHERE name = %s", NARROW)


def test_a_superseded_request_leaves_the_queue(rig: Rig, narrow: None) -> None:
    engine = rig.engines["narrow-sessions"]
    waiting = 'coderack_gateway_queued{lane="fim"}'
    running = [Asking(rig, f"narrow-{number}", model=NARROW) for number in range(2)]
    wait_until(lambda: len(engine.running) == 2)
    old = Asking(rig, "typing", model=NARROW)
    wait_until(lambda: rig.figure(waiting) == 1)
    new = Asking(rig, "typing", model=NARROW)
    old.join(20)
    assert old.answer is not None
    assert (old.answer[0], old.error["error"]["code"]) == (400, "superseded")
    wait_until(lambda: rig.figure(waiting) == 1)

    def ended() -> bool:
        let_go(engine)
        return new.answer is not None

    wait_until(ended)
    for one in (*running, new):
        one.join(20)
    assert not any(old.mark in body["prompt"] for body in engine.bodies)


def test_the_clock_of_arrivals_is_one_for_all_processes() -> None:
    assert 0 < now() - float(Path("/proc/uptime").read_text().split()[0]) + 3600 < 7200
