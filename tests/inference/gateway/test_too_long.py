"""Answers that are too long to be held: nobody gets them, and they are billed for what they were."""

from __future__ import annotations

import json

import pytest

from inference.gateway.usage import UsageSearch
from tests.inference.gateway.parts import Rig
from tests.inference.gateway.test_answers import events

MIB = 1024 * 1024


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_usage_is_found_in_pieces_of_any_size(step: int) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}}
    text = 'a "usage":{"prompt_tokens":1} in a text'
    whole = json.dumps({"choices": [{"text": text}], "usage": usage, "more": [1]}, separators=(",", ":")).encode()
    search = UsageSearch()
    for start in range(0, len(whole), step):
        search.feed(whole[start : start + step])
    assert search.reported() == usage


def test_no_usage_is_none() -> None:
    for answer in (b'{"choices":[]}', b'{"usage":{"prompt_tokens":', b'{"usage":{"prompt_tokens":"many"}}'):
        search = UsageSearch()
        search.feed(answer)
        assert search.reported() is None


def test_an_answer_over_the_bound_is_refused_and_billed(rig: Rig) -> None:
    body = rig.chat(f"tokens=17 pad={4 * MIB}", max_tokens=100)
    status, headers, answer = rig.call("POST", "/v1/chat/completions", body)
    assert (status, json.loads(answer)["error"]["code"]) == (502, "engine_error")
    record = rig.record(headers["x-request-id"])
    assert (record.prompt_tokens, record.completion_tokens, record.exact) == (7, 17, True)
    assert record.outcome == "failed"


def test_an_event_over_the_bound_ends_its_stream_and_its_prompt_is_billed(rig: Rig) -> None:
    body = {"model": "deepseek-fake", "prompt": f"tokens=1 pad={17 * MIB}", "stream": True, "max_tokens": 100}
    status, headers, answer = rig.call("POST", "/v1/completions", body)
    assert status == 200
    assert events(answer)[-1]["error"]["code"] == "engine_error"
    record = rig.record(headers["x-request-id"])
    assert (record.outcome, record.exact) == ("failed", False)
    assert record.prompt_tokens > 0
    assert record.completion_tokens == 1
