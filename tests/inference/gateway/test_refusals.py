"""API.md's table of errors, row by row, and bad input of every kind: the documented error at once."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.inference.gateway.database import digest
from tests.inference.gateway.parts import OTHER_KEY, SMALL_KEY, Rig

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def error(body: bytes) -> dict[str, Any]:
    parsed = json.loads(body)["error"]
    assert set(parsed) == {"message", "type", "param", "code"}
    assert parsed["code"] is None or isinstance(parsed["code"], str)
    return dict(parsed)


@pytest.mark.parametrize(
    "authorization", [None, "Bearer sk-unknown", "Bearer ", "Basic sk-owner", "sk-owner", "Bearer \xff"]
)
def test_it_refuses_every_bad_key_with_one_body(rig: Rig, authorization: str | None) -> None:
    status, headers, body = rig.call("POST", CHAT, rig.chat(), authorization=authorization or "")
    assert status == 401
    assert error(body)["code"] == "invalid_api_key"
    assert body == rig.call("GET", "/v1/models", authorization="Bearer other")[2]
    assert headers["x-request-id"].startswith("req-")


def test_it_refuses_an_expired_key_by_the_clock(rig: Rig) -> None:
    rig.postgres.execute(
        "INSERT INTO gateway_keys VALUES (%s, 'k', 'owner', 4096, 16, NULL, now() + interval '1 second')",
        digest("sk-short"),
    )
    deadline = time.monotonic() + 3
    seen = set()
    while time.monotonic() < deadline:
        seen.add(rig.call("GET", "/v1/models", authorization="Bearer sk-short")[0])
        time.sleep(0.05)
    assert rig.call("GET", "/v1/models", authorization="Bearer sk-short")[0] == 401
    assert 200 in seen


def test_it_refuses_an_unknown_model_without_naming_it(rig: Rig) -> None:
    status, _, body = rig.call("POST", CHAT, rig.chat(model="deepseek-nope"))
    assert (status, error(body)["code"], error(body)["param"]) == (404, "model_not_found", "model")
    assert body == rig.call("GET", "/v1/models/ft:deepseek:owner:x:1")[2]


def test_it_refuses_a_model_outside_the_plan(rig: Rig) -> None:
    status, _, body = rig.call("POST", CHAT, rig.chat(), authorization=f"Bearer {OTHER_KEY}")
    assert (status, error(body)["code"]) == (403, "model_not_allowed")
    listed = json.loads(rig.call("GET", "/v1/models", authorization=f"Bearer {OTHER_KEY}")[2])
    assert [model["id"] for model in listed["data"]] == ["deepseek-fim"]


def test_it_says_that_no_replica_is_ready_and_when_to_come_back(rig: Rig) -> None:
    before = rig.figure('coderack_gateway_refusals_total{code="overloaded"}')
    status, headers, body = rig.call("POST", CHAT, rig.chat(model="deepseek-away"))
    assert (status, error(body)["code"], headers["retry-after"]) == (503, "overloaded", "2")
    assert rig.figure('coderack_gateway_refusals_total{code="overloaded"}') == before + 1


def test_it_keeps_the_context_limit_of_the_plan(rig: Rig) -> None:
    small = f"Bearer {SMALL_KEY}"
    long = rig.chat(" ".join(["word"] * 65))
    status, _, body = rig.call("POST", CHAT, long, authorization=small)
    assert (status, error(body)["code"]) == (400, "context_length_exceeded")
    assert rig.call("POST", CHAT, long)[0] == 200
    request = {"model": "deepseek-fake", "prompt": " ".join(["word"] * 40), "max_tokens": 30}
    assert rig.call("POST", COMPLETIONS, request, authorization=small)[0] == 400
    assert rig.call("POST", COMPLETIONS, {**request, "max_tokens": 24}, authorization=small)[0] == 200
    assert rig.call("POST", COMPLETIONS, {**request, "max_tokens": None}, authorization=small)[0] == 200
    sent = [one for engine in rig.engines.values() for one in engine.bodies if one.get("prompt") == request["prompt"]]
    assert sorted(one["max_tokens"] for one in sent) == [24, 24]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 17}, "n"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"best_of": 99}, "best_of"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 5}, "logprobs"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
            "messages",
        ),
        ({"messages": [{"role": "user", "content": [{"image_url": "http://x"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "video_url": "x"}]}]}, "messages"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ({"kv_transfer_params": {}}, "kv_transfer_params"),
        ({"mm_processor_kwargs": {"a": 1}}, "mm_processor_kwargs"),
        ({"vllm_xargs": {"a": 1}}, "vllm_xargs"),
        ({"logits_processors": ["os.system"]}, "logits_processors"),
        ({"structured_outputs": {"_backend": "x"}}, "structured_outputs"),
        ({"stream_options": 5}, "stream_options"),
    ],
)
def test_it_names_the_field_at_fault(rig: Rig, fields: dict[str, Any], param: str) -> None:
    status, _, body = rig.call("POST", CHAT, {**rig.chat(), **fields})
    assert (status, error(body)["param"]) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [""]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [1.5]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": -1}, "logprobs"),
        ({"prompt_logprobs": -1}, "prompt_logprobs"),
        ({"suffix": "x"}, "suffix"),
        ({"suffix": 5}, "suffix"),
        ({"prompt_embeds": "AAAA"}, "prompt_embeds"),
    ],
)
def test_it_names_the_field_at_fault_of_a_completion(rig: Rig, fields: dict[str, Any], param: str) -> None:
    status, _, body = rig.call("POST", COMPLETIONS, {"model": "deepseek-fake", "prompt": "a", **fields})
    assert (status, error(body)["param"]) == (400, param)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"model":"\xff"}', b'{"a":NaN}', b'{"a":1e999}', b"{} {}",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"model":"deepseek-fake","messages":' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"model":"deepseek-fake","messages":' + b"[" * 200_000,
        b'{"model":' + b"9" * 10_000 + b"}",
    ],
)  # fmt: skip
def test_it_refuses_what_is_no_proper_json_object(rig: Rig, body: bytes) -> None:
    status, _, answer = rig.call("POST", CHAT, body)
    assert status == 400
    error(answer)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", COMPLETIONS, "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("OPTIONS", CHAT, "POST"),
    ],
)
def test_it_names_the_method_an_address_takes(rig: Rig, method: str, path: str, allowed: str) -> None:
    status, headers, body = rig.call(method, path)
    assert (status, headers["allow"]) == (405, allowed)
    error(body)


def test_it_has_no_embedding_model(rig: Rig) -> None:
    status, _, body = rig.call("POST", "/v1/embeddings", {"model": "x", "input": "y"})
    assert (status, error(body)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("orders", "status", "code"),
    [
        ("status=400 message=maximum_context_length_is_7", 400, "context_length_exceeded"),
        ("status=400", 400, None),
        ("status=404", 503, "overloaded"),
        ("status=500", 502, "engine_error"),
        ("status=503", 503, "overloaded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_it_reshapes_what_the_engine_refuses(
    rig: Rig, orders: str, status: int, code: str | None, stream: bool
) -> None:
    answered, headers, body = rig.call("POST", CHAT, rig.chat(orders, stream=stream))
    assert (answered, error(body)["code"]) == (status, code)
    record = rig.record(headers["x-request-id"])
    assert (record.outcome, record.completion_tokens) == ("failed", 0)


def test_it_lists_models_with_their_context(rig: Rig) -> None:
    listed = json.loads(rig.call("GET", "/models", authorization=f"Bearer {SMALL_KEY}")[2])
    assert listed["object"] == "list"
    by_id = {model["id"]: model for model in listed["data"]}
    assert by_id["deepseek-fake"]["max_model_len"] == 64
    one = json.loads(rig.call("GET", "/v1/models/deepseek-fake")[2])
    assert (one["object"], one["owned_by"], one["created"]) == ("model", "coderack", 1)
