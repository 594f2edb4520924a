"""Answers of engines through the whole gateway: streamed and whole, usage shown and hidden, the journal's line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.gateway.lanes import Lane
from tests.inference.gateway.parts import Rig


def events(body: bytes) -> list[Any]:
    """The parsed events of a stream; `[DONE]` stays a text."""
    parts = [part.removeprefix(b"data: ") for part in body.split(b"\n\n") if part.startswith(b"data: ")]
    return [part.decode() if part == b"[DONE]" else json.loads(part) for part in parts]


@pytest.mark.parametrize("orders", ["", "split=1", "merge=1"])
def test_it_streams_without_a_usage_event_nobody_asked_for(rig: Rig, orders: str) -> None:
    status, headers, body = rig.call("POST", "/v1/chat/completions", rig.chat(f"tokens=9 {orders}", stream=True))
    seen = events(body)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert seen[-1] == "[DONE]"
    assert all("usage" not in event for event in seen[:-1])
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in seen[:-1]) == "".join(
        f" {number}" for number in range(9)
    )
    record = rig.record(headers["x-request-id"])
    assert (record.prompt_tokens, record.completion_tokens, record.engine_prompt_tokens) == (7, 9, 7)
    assert record.exact
    assert (record.outcome, record.tenant_id, record.stream, record.endpoint) == ("completed", "owner", True, "chat")


@pytest.mark.parametrize("orders", ["", "split=1", "merge=1"])
def test_it_shows_usage_in_both_dialects_to_a_stream_that_asked(rig: Rig, orders: str) -> None:
    request = rig.chat(f"tokens=4 {orders}", stream=True, stream_options={"include_usage": True})
    _, _, body = rig.call("POST", "/v1/chat/completions", request)
    seen = events(body)
    assert seen[-1] == "[DONE]"
    assert seen[-2]["choices"] == []
    usage = seen[-2]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_cache_hit_tokens"] == 3
    assert usage["prompt_cache_miss_tokens"] == 4


def test_it_answers_whole_with_usage_in_both_dialects(rig: Rig) -> None:
    status, headers, body = rig.call("POST", "/v1/completions", {"model": "deepseek-fake", "prompt": "tokens=3"})
    answer = json.loads(body)
    assert status == 200
    assert answer["choices"][0]["text"] == " 0 1 2"
    assert answer["usage"]["prompt_cache_miss_tokens"] == 4
    assert headers["x-request-id"].startswith("req-")
    assert "uvicorn" not in str(headers)
    assert rig.record(headers["x-request-id"]).completion_tokens == 3


@pytest.mark.parametrize("stream", [False, True])
def test_it_counts_each_sequences_prompt_as_the_engine_does(rig: Rig, stream: bool) -> None:
    before = rig.engines["one"].prompt_tokens + rig.engines["two"].prompt_tokens
    request = {"model": "deepseek-fake", "prompt": ["tokens=3", "b"], "n": 3, "stream": stream}
    _, headers, _ = rig.call("POST", "/v1/completions", request)
    record = rig.record(headers["x-request-id"])
    assert (record.prompt_tokens, record.engine_prompt_tokens, record.completion_tokens) == (14, 42, 18)
    assert rig.engines["one"].prompt_tokens + rig.engines["two"].prompt_tokens - before == 42


def test_it_salts_the_prefix_cache_and_drops_the_clients_own(rig: Rig) -> None:
    body = rig.chat("", cache_salt="mine", priority=-5, request_id="x", user="u", made_up=1, stream=True)
    rig.call("POST", "/v1/chat/completions", body, x_request_id="theirs")
    sent = max(
        (e.bodies[-1] for e in rig.engines.values() if e.bodies), key=lambda b: b.get("messages") == body["messages"]
    )
    assert len(sent["cache_salt"]) == 64
    assert sent["priority"] == Lane.CHAT.priority
    assert not {"request_id", "user", "made_up"} & sent.keys()
    assert sent["stream_options"] == {"include_usage": True, "continuous_usage_stats": False}
    assert sent["max_tokens"] == 256


def test_it_renders_fill_in_the_middle(rig: Rig) -> None:
    body = {"model": "deepseek-fim", "prompt": "def f():", "suffix": "return 1"}
    status, _, _ = rig.call("POST", "/beta/completions/", body)
    assert status == 200
    rendered = "<\uff5cfim\u2581begin\uff5c>def f():<\uff5cfim\u2581hole\uff5c>return 1<\uff5cfim\u2581end\uff5c>"
    sent = rig.engines["fim"].bodies[-1]
    assert (sent["prompt"], sent["priority"]) == (rendered, Lane.FIM.priority)
    assert rig.call("POST", "/v1/completions", {**body, "suffix": None})[0] == 200


def test_it_keeps_a_waiting_stream_alive_with_comments(rig: Rig) -> None:
    status, _, body = rig.call("POST", "/v1/chat/completions", rig.chat("first=1.4", stream=True))
    assert status == 200
    # The chat's role event comes at once from this engine; a completion has nothing to say before its first token.
    request = {"model": "deepseek-fake", "prompt": "first=2.9", "stream": True}
    _, _, body = rig.call("POST", "/v1/completions", request)
    assert body.startswith(2 * b": keep-alive\n\n"), "every half second, on a busy machine less often"
    assert body.lstrip(b": keep-alive\n").startswith(b"data: ")
    assert body.endswith(b"data: [DONE]\n\n")
