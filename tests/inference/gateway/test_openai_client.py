"""openai-python, unchanged, against the gateway with a fake engine: its whole surface of chat, completions and models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.inference.gateway.database import add_key
from tests.inference.gateway.parts import KEY, OTHER_KEY, SMALL_KEY, Rig

MODEL = "deepseek-fake"
RARE_KEY = "sk-rare"


def say(orders: str) -> Any:
    return [{"role": "user", "content": orders}]


@pytest.fixture(scope="module")
def base(rig: Rig) -> str:
    return f"http://127.0.0.1:{rig.port}/v1"


@pytest.fixture
def client(base: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base, api_key=KEY, max_retries=0) as made:
        yield made


def answers_of(client: openai.OpenAI) -> list[int]:
    """The status of every answer that a client gets from here on, retries included."""
    statuses: list[int] = []
    client._client.event_hooks["response"].append(lambda response: statuses.append(response.status_code))
    return statuses


def test_chat_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model=MODEL, messages=say("tokens=4"), n=2, stop=["x"], seed=1, logprobs=True
    )
    assert [choice.message.content for choice in whole.choices] == [" 0 1 2 3"] * 2
    assert whole.usage is not None
    assert (whole.usage.completion_tokens, whole.usage.prompt_tokens) == (8, 7)
    with client.chat.completions.create(model=MODEL, messages=say("tokens=4"), stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == " 0 1 2 3"
    assert chunks[-1].choices[0].finish_reason == "length"


def test_the_streaming_helper_gathers_an_answer(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=say("tokens=3"), stream_options={"include_usage": True}
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.current_completion_snapshot
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == " 0 1 2"
    assert final.usage is not None
    assert final.usage.completion_tokens == 3


def test_a_stream_that_is_closed_early_ends_the_work(rig: Rig, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=say("tokens=4000 delay=0.01"), stream=True)
    next(iter(stream))
    request_id = stream.response.headers["x-request-id"]
    stream.close()
    record = rig.record(request_id)
    assert record.outcome == "aborted"
    assert record.completion_tokens < 4000


def test_completions_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=MODEL, prompt=["tokens=2", "b"], echo=False, best_of=1)
    assert [choice.text for choice in whole.choices] == [" 0 1", " 0 1"]
    options: Any = {"include_usage": True}
    chunks = list(client.completions.create(model=MODEL, prompt="tokens=2", stream=True, stream_options=options))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == " 0 1"
    assert chunks[-1].usage is not None
    assert client.completions.create(model="deepseek-fim", prompt="a", suffix="b").choices[0].text


def test_models(client: openai.OpenAI, base: str) -> None:
    assert {MODEL, "deepseek-fim"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(MODEL).owned_by == "coderack"
    other = openai.OpenAI(base_url=base, api_key=OTHER_KEY, max_retries=0)
    assert [model.id for model in other.models.list()] == ["deepseek-fim"]


def test_raw_and_streaming_responses(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=say("tokens=2"))
    assert raw.headers["x-request-id"].startswith("req-")
    assert raw.parse().choices[0].message.content == " 0 1"
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    create = client.chat.completions.with_streaming_response.create
    with create(model=MODEL, messages=say("tokens=2"), stream=True) as response:
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert client.models.with_raw_response.list().http_response.status_code == 200


def test_the_asynchronous_client(base: str) -> None:
    async def all_of_it() -> tuple[str, str, int, list[str]]:
        async with openai.AsyncOpenAI(base_url=base, api_key=KEY, max_retries=0) as client:
            whole = await client.chat.completions.create(model=MODEL, messages=say("tokens=2"))
            stream = await client.completions.create(model=MODEL, prompt="tokens=3", stream=True)
            text = "".join([chunk.choices[0].text async for chunk in stream])
            raw = await client.models.with_raw_response.retrieve(MODEL)
            models = [model.id async for model in client.models.list()]
            return whole.choices[0].message.content or "", text, raw.http_response.status_code, models

    content, text, status, models = asyncio.run(all_of_it())
    assert (content, text, status) == (" 0 1", " 0 1 2", 200)
    assert MODEL in models


@pytest.mark.parametrize(
    ("key", "fields", "kind", "code"),
    [
        ("sk-wrong", {}, openai.AuthenticationError, "invalid_api_key"),
        (OTHER_KEY, {}, openai.PermissionDeniedError, "model_not_allowed"),
        (KEY, {"model": "no-such-model"}, openai.NotFoundError, "model_not_found"),
        (SMALL_KEY, {"max_tokens": 64}, openai.BadRequestError, "context_length_exceeded"),
        (KEY, {"temperature": 3}, openai.BadRequestError, None),
        (KEY, {"messages": say("x" * 2_000_000)}, openai.APIStatusError, "request_too_large"),
        (KEY, {"model": "deepseek-away"}, openai.InternalServerError, "overloaded"),
        (KEY, {"messages": say("status=500")}, openai.InternalServerError, "engine_error"),
    ],
)
def test_errors_are_its_own_exceptions(
    base: str, key: str, fields: dict[str, Any], kind: type[openai.APIStatusError], code: str | None
) -> None:
    with openai.OpenAI(base_url=base, api_key=key, max_retries=0) as client, pytest.raises(kind) as raised:
        client.chat.completions.create(**{"model": MODEL, "messages": say("tokens=2"), **fields})
    assert raised.value.code == code
    assert (raised.value.request_id or "").startswith("req-")
    assert isinstance(raised.value.body, dict)


def test_a_failure_in_the_middle_of_a_stream_is_raised(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=say("tokens=9 error=3"), stream=True)
    seen: list[Any] = []
    with pytest.raises(openai.APIError) as raised:
        seen.extend(chunk for chunk in stream)
    assert raised.value.code == "engine_error"


def test_a_refused_connection_and_a_timeout_are_its_own_exceptions(base: str, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(model=MODEL, messages=say("tokens=1 first=30"))
    nowhere = client.with_options(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(openai.APIConnectionError):
        nowhere.models.list()


def test_a_timeout_that_is_tried_again_reaches_the_engine_each_time(rig: Rig, client: openai.OpenAI) -> None:
    before = sum(len(engine.bodies) for engine in rig.engines.values())
    patient = client.with_options(timeout=httpx2.Timeout(2), max_retries=1)
    with pytest.raises(openai.APITimeoutError):
        patient.chat.completions.create(model=MODEL, messages=say("tokens=1 first=30 again"))
    assert sum(len(engine.bodies) for engine in rig.engines.values()) - before == 2


def test_it_waits_as_long_as_it_is_told_and_succeeds(rig: Rig, base: str) -> None:
    allowance = {"tenant": {"requests_per_minute": 30}, "key": {}, "models": {}, "prices": [1, 1, 1]}
    add_key(rig.postgres, RARE_KEY, "rare", limits=allowance)
    rig.wait_for_directory()
    with openai.OpenAI(base_url=base, api_key=RARE_KEY, max_retries=3) as client:
        statuses = answers_of(client)
        began = time.monotonic()
        while 429 not in statuses:
            client.chat.completions.create(model=MODEL, messages=say("tokens=1"))
        took_s = time.monotonic() - began
    assert statuses[-2:] == [429, 200], "tried once more, after the wait that it was told"
    assert statuses.count(429) == 1
    assert took_s >= 1


def test_it_tries_an_overloaded_model_again_after_retry_after(base: str) -> None:
    with openai.OpenAI(base_url=base, api_key=KEY, max_retries=1) as client:
        statuses = answers_of(client)
        began = time.monotonic()
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="deepseek-away", messages=say(""))
    assert statuses == [503, 503]
    assert time.monotonic() - began >= 2, "Retry-After is 2 s"


@pytest.mark.parametrize("fields", [{"model": "no-such-model"}, {"temperature": 3}, {"max_tokens": 10**6}])
def test_it_does_not_try_again_what_waiting_does_not_help(base: str, fields: dict[str, Any]) -> None:
    with openai.OpenAI(base_url=base, api_key=KEY, max_retries=3) as client:
        statuses = answers_of(client)
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(**{"model": MODEL, "messages": say("tokens=1"), **fields})
    assert len(statuses) == 1
