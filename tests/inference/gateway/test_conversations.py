"""A tenant's conversations on their way to the disk, through the real gateway; and nothing of those who did not ask."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from inference.conversations import segments
from inference.conversations.errors import Erased
from inference.conversations.segments import About, Texts
from inference.conversations.vault import Vault
from inference.failpoints import VARIABLE
from tests.fakes.outside import OutsideServer
from tests.inference.gateway.database import add_key, add_model
from tests.inference.gateway.parts import Rig, free_port, healthy, start_gunicorn
from tests.inference.gateway.test_answers import events
from tests.inference.gateway.test_attached import Attached
from tests.inference.gateway.test_faults import open_stream, read_all
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
KEEPER = "sk-keeper"
SECRET = "the-owners-secret-text"


@pytest.fixture(scope="module")
def keeping(rig: Rig) -> Iterator[Rig]:
    """A tenant that has its conversations kept."""
    add_key(rig.postgres, KEEPER, "keeper")
    rig.postgres.execute("INSERT INTO gateway_logged VALUES ('keeper')")
    rig.wait_for_directory()
    yield rig
    rig.postgres.execute("DELETE FROM gateway_keys WHERE tenant_id = 'keeper'")
    rig.postgres.execute("DELETE FROM gateway_logged")
    rig.wait_for_directory()


def vault(rig: Rig) -> Vault:
    return Vault(rig.root / "conversations", rig.root / "conversation_key")


def kept(rig: Rig) -> dict[str, tuple[About, Texts]]:
    """All that can be read, by the request's id."""
    place, found = vault(rig), {}
    for day in place.days("keeper"):
        try:
            key = place.open_key("keeper", day)
        except Erased:  # the directory is there a moment before its key
            continue
        for path in segments.files(place.day_dir("keeper", day)):
            for record in segments.read(path, key):
                assert record.about is not None
                found[record.about.request_id] = record.about, segments.read_texts(path, key, record.offset)
    return found


def wait_for(rig: Rig, request_id: str) -> tuple[About, Texts]:
    record: tuple[About, Texts] = wait_until(lambda: kept(rig).get(request_id))
    return record


def ask(rig: Rig, orders: str, **fields: object) -> tuple[dict[str, str], bytes, dict[str, object]]:
    body = rig.chat(f"{SECRET} {orders}", user="me", **fields)
    _, headers, answer = rig.call("POST", CHAT, body, authorization=f"Bearer {KEEPER}")
    return headers, answer, body


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("orders", ["tokens=3", "tokens=3 split=1", "tokens=3 merge=1"])
def test_it_keeps_what_was_asked_and_answered(keeping: Rig, stream: bool, orders: str) -> None:
    headers, answer, body = ask(keeping, orders, stream=stream)
    assert headers["x-coderack-logged"] == "true"
    about, texts = wait_for(keeping, headers["x-request-id"])
    assert json.loads(texts.request) == body
    assert texts.answer == answer
    assert (about.key_id, about.model, about.endpoint, about.stream) == (
        f"key-{KEEPER}", "deepseek-fake", "chat", stream,
    )  # fmt: skip
    assert (about.prompt_tokens, about.completion_tokens, about.outcome, about.cut) == (7, 3, "completed", False)


@pytest.mark.parametrize("stream", [True, False])
def test_it_keeps_the_name_that_the_client_was_told_and_not_a_servers_own(keeping: Rig, stream: bool) -> None:
    add_model(keeping.postgres, "deepseek-kept", str(keeping.root / "model"))
    servers = Attached(keeping)
    try:
        servers.add(OutsideServer("/models/inner"), "deepseek-kept")
        headers, answer, _ = ask(keeping, "tokens=3", stream=stream, model="deepseek-kept")
        assert wait_for(keeping, headers["x-request-id"])[1].answer == answer
    finally:
        servers.clear()
        keeping.postgres.execute("DELETE FROM gateway_models WHERE name = 'deepseek-kept'")


def test_it_keeps_completions_with_their_usage_events(keeping: Rig) -> None:
    body = {
        "model": "deepseek-fake", "prompt": f"{SECRET} tokens=2", "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    _, headers, answer = keeping.call("POST", "/v1/completions", body, authorization=f"Bearer {KEEPER}")
    about, texts = wait_for(keeping, headers["x-request-id"])
    assert events(texts.answer)[-2]["usage"]["completion_tokens"] == 2
    assert (texts.answer, about.endpoint) == (answer, "completions")


def test_it_keeps_what_a_client_got_before_it_left(keeping: Rig) -> None:
    known = set(kept(keeping))
    body = keeping.chat("tokens=4000 delay=0.02", stream=True, max_tokens=4000)
    with open_stream(keeping, body), keep_stream(keeping, json.dumps(body).encode()) as client:
        received = b""
        while b'" 2"' not in received:
            received += client.recv(65536)
    [new] = wait_until(lambda: [kept(keeping)[one] for one in set(kept(keeping)) - known])
    about, texts = new
    assert (about.outcome, json.loads(texts.request)) == ("aborted", body)
    assert b'" 2"' in texts.answer
    assert b"[DONE]" not in texts.answer
    assert about.completion_tokens >= 3


def keep_stream(rig: Rig, data: bytes, port: int | None = None) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port or rig.port), timeout=20)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEEPER}\r\ncontent-length: {len(data)}\r\n\r\n"
    client.sendall(head.encode() + data)
    return client


def test_it_keeps_a_failed_request_with_what_came_of_it(keeping: Rig) -> None:
    headers, answer, _ = ask(keeping, "die=2 tokens=9", stream=True)
    about, texts = wait_for(keeping, headers["x-request-id"])
    assert about.outcome == "failed"
    assert texts.answer
    assert answer.startswith(texts.answer)


def test_it_cuts_an_answer_that_is_too_long_to_be_held(keeping: Rig) -> None:
    headers, answer, _ = ask(keeping, "tokens=90 pad=50000", max_tokens=4000, stream=True)
    assert answer.endswith(b"data: [DONE]\n\n")
    about, texts = wait_for(keeping, headers["x-request-id"])
    assert (about.cut, about.completion_tokens) == (True, 90)
    assert 2 * 1024 * 1024 < len(texts.answer) <= 4 * 1024 * 1024
    assert answer.startswith(texts.answer)


def test_it_tells_and_keeps_nothing_of_tenants_that_did_not_ask(keeping: Rig) -> None:
    status, headers, _ = keeping.call("POST", CHAT, keeping.chat(f"{SECRET} tokens=2", stream=True))
    assert status == 200
    assert "x-coderack-logged" not in headers
    marked, _, _ = ask(keeping, "tokens=1")
    wait_for(keeping, marked["x-request-id"])
    assert headers["x-request-id"] not in kept(keeping)
    assert vault(keeping).tenants() == ["keeper"]


def test_no_file_has_a_byte_of_it_in_the_clear(keeping: Rig) -> None:
    headers, _, _ = ask(keeping, "tokens=1")
    wait_for(keeping, headers["x-request-id"])
    searched = 0
    for path in keeping.root.rglob("*"):
        if path.is_file() and "pg" not in path.relative_to(keeping.root).parts:
            content = path.read_bytes()
            assert SECRET.encode() not in content, path
            searched += 1
    assert searched > 3
    for path in (keeping.root / "conversations").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (keeping.root / "conversation_key").stat().st_mode & 0o077 == 0


def test_what_is_erased_stays_erased_and_the_next_is_kept_under_another_key(keeping: Rig) -> None:
    first, _, _ = ask(keeping, "tokens=1")
    wait_for(keeping, first["x-request-id"])
    place = vault(keeping)
    [day] = place.days("keeper")
    old = place.open_key("keeper", day)
    place.erase_day("keeper", day)
    with pytest.raises(Erased):
        place.open_key("keeper", day)
    second, _, _ = ask(keeping, "tokens=1")
    wait_for(keeping, second["x-request-id"])
    assert first["x-request-id"] not in kept(keeping)
    assert not place.is_current(old)


def test_turned_off_it_keeps_nothing_more_at_once(keeping: Rig) -> None:
    known = set(kept(keeping))
    body = keeping.chat("tokens=6 delay=0.3 first=1", stream=True)
    begun = 'coderack_gateway_conversations_total{outcome="turned_off"}'
    before = keeping.figure(begun)
    with keep_stream(keeping, json.dumps(body).encode()) as client:
        wait_until(lambda: any(engine.running for engine in keeping.engines.values()))
        keeping.postgres.execute("DELETE FROM gateway_logged")
        keeping.wait_for_directory()
        received = b""
        while b"[DONE]" not in received:
            received += client.recv(65536)
    headers, _, _ = ask(keeping, "tokens=1")
    assert "x-coderack-logged" not in headers
    wait_until(lambda: keeping.figure(begun) == before + 1)
    assert set(kept(keeping)) == known
    keeping.postgres.execute("INSERT INTO gateway_logged VALUES ('keeper')")
    keeping.wait_for_directory()


def test_a_record_that_a_killed_worker_left_half_is_passed_over(keeping: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv(VARIABLE, "conversation.half_written")
    process = start_gunicorn(keeping, port, 1)
    try:
        wait_until(lambda: healthy(port))
        [worker] = psutil.Process(process.pid).children()
        known = set(kept(keeping))
        with keep_stream(keeping, json.dumps(keeping.chat(f"{SECRET} tokens=1")).encode(), port) as client:
            assert b"200 OK" in read_all(client)
        worker.wait(30)
        [torn] = [path for path in everywhere(keeping) if path.name.startswith(f"{worker.pid}-")]
        assert torn.stat().st_size > 12
        assert not segments.writer_lives(torn.name)
        key = vault(keeping).open_key("keeper", datetime.fromisoformat(torn.parent.name).date())
        assert list(segments.read(torn, key)) == []
        assert set(kept(keeping)) == known
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert SECRET.encode() not in torn.read_bytes()
    headers, _, _ = ask(keeping, "tokens=1")
    wait_for(keeping, headers["x-request-id"])


def everywhere(rig: Rig) -> list[Path]:
    return list((rig.root / "conversations" / "keeper").rglob("*.seg"))


def test_it_answers_without_keeping_where_the_disk_has_no_room(keeping: Rig) -> None:
    port = free_port()
    process = start_gunicorn(keeping, port, 1, conversation_min_free_bytes=2**62)
    try:
        wait_until(lambda: healthy(port))
        known = set(kept(keeping))
        with keep_stream(keeping, json.dumps(keeping.chat("tokens=1")).encode(), port) as client:
            received = b""
            while b'"usage"' not in received:
                received += client.recv(65536)
        assert b"200 OK" in received
        log = keeping.root / f"gateway-{port}.log"
        assert SECRET not in log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert set(kept(keeping)) == known
