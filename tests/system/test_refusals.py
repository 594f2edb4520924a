"""What the tenant API refuses, and in which words: the rows of docs/api.md's error table that exist so far."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.system.appliance import DEMO, Appliance, until
from tests.system.conftest import Cast

pytestmark = [pytest.mark.appliance, pytest.mark.engine]
CHAT = "/v1/chat/completions"


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": DEMO, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2} | changes


def error_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, Any]]:
    status, headers, body = answer
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"]
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return status, error


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer sk-cr-unknown", "Basic abc", "sk-cr-x"])
def test_it_refuses_every_wrong_key_with_one_body(appliance: Appliance, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization is not None else {}
    status, error = error_of(appliance.request("POST", CHAT, chat(), headers=headers))
    reference = error_of(appliance.request("POST", CHAT, chat(), key="sk-cr-another"))[1]
    assert status == 401
    assert error["code"] == "invalid_api_key"
    assert error == reference


def refused_after_s(appliance: Appliance) -> float:
    """How long a key goes on being served by any worker once the command that revokes it has ended."""
    made = appliance.cli_json("key", "create", "alpha")
    until(lambda: appliance.request("POST", CHAT, chat(), key=made["key"])[0], lambda status: status == 200, 20)
    assert appliance.cli("key", "revoke", made["id"]).returncode == 0
    begin = time.monotonic()
    until(lambda: appliance.request("POST", CHAT, chat(), key=made["key"])[0], lambda status: status == 401, 30, 0.02)
    took_s = time.monotonic() - begin
    # both workers, not only the first one asked
    assert {appliance.request("GET", "/v1/models", key=made["key"])[0] for _ in range(20)} == {401}
    return took_s


def test_it_refuses_a_revoked_key_within_a_second(appliance: Appliance, cast: Cast) -> None:
    took_s: list[float] = []
    while not took_s or (took_s[-1] >= 1 and len(took_s) < 3):  # a busy machine may sleep through one
        took_s.append(refused_after_s(appliance))
    assert took_s[-1] < 1, took_s


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{not json", None),
        (b"[]", None),
        (b"", None),
        (chat(messages="hello"), "messages"),
        (chat(n=1000), "n"),
        (chat(temperature=-1), "temperature"),
        (chat(max_tokens="many"), "max_tokens"),
        (chat(chat_template="{{ x }}"), "chat_template"),
        (
            chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b"}}]}]),
            "messages",
        ),
        ({"messages": []}, "model"),
    ],
)
def test_it_refuses_a_bad_body_and_names_the_field(
    appliance: Appliance, cast: Cast, body: Any, param: str | None
) -> None:
    status, error = error_of(appliance.request("POST", CHAT, body, key=cast.alpha))
    assert status == 400
    assert (error["param"] or "").split(".")[0].split("[")[0] == (param or "")


def test_it_refuses_what_is_too_long(appliance: Appliance, cast: Cast) -> None:
    long = chat(messages=[{"role": "user", "content": "word " * 9000}])
    status, error = error_of(appliance.request("POST", CHAT, long, key=cast.alpha))
    assert (status, error["code"]) == (400, "context_length_exceeded")
    huge = chat(messages=[{"role": "user", "content": "x" * (5 * 1024 * 1024)}])
    status, error = error_of(appliance.request("POST", CHAT, huge, key=cast.alpha))
    assert (status, error["code"]) == (413, "request_too_large")


def test_an_unknown_model_and_a_forbidden_one(appliance: Appliance, cast: Cast) -> None:
    status, error = error_of(appliance.request("POST", CHAT, chat(model="nope"), key=cast.alpha))
    assert (status, error["code"]) == (404, "model_not_found")
    status, error = error_of(appliance.request("POST", "/v1/embeddings", {"model": "x", "input": "y"}, key=cast.alpha))
    assert (status, error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "path",
    ["/v1/../pause", "/v1/%2e%2e/pause", "/pause", "/v1/load_lora_adapter", "/inference/v1/abort_requests", "/sleep"],
)
def test_no_engine_control_route_is_reachable(appliance: Appliance, cast: Cast, path: str) -> None:
    status, _, body = appliance.request("POST", path, {}, key=cast.alpha)
    assert status in {400, 403, 404, 405}
    assert b"vllm" not in body.lower()


def test_a_plan_can_exclude_a_model(appliance: Appliance, deepseek: str) -> None:
    limits = ("--max-context-tokens", "512", "--default-max-tokens", "16", "--allowed-model", DEMO)
    for command in (("plan", "create", "narrow", *limits), ("tenant", "create", "narrow", "--plan", "narrow")):
        done = appliance.cli(*command)
        assert done.returncode == 0, done.stderr
    key = str(appliance.cli_json("key", "create", "narrow")["key"])
    asked = until(
        lambda: appliance.request("POST", CHAT, chat(model=deepseek), key=key), lambda answer: answer[0] == 403, 5
    )
    assert error_of(asked)[1]["code"] == "model_not_allowed"
    assert appliance.request("POST", CHAT, chat(), key=key)[0] == 200
    long = chat(messages=[{"role": "user", "content": "word " * 600}])
    assert error_of(appliance.request("POST", CHAT, long, key=key))[1]["code"] == "context_length_exceeded"
