"""The official openai client, unchanged but for base URL and key, against the running appliance."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from tests.system.appliance import DEMO, Appliance
from tests.system.conftest import Cast

pytestmark = [pytest.mark.appliance, pytest.mark.engine]
MESSAGES: Any = [{"role": "user", "content": "Write a Python function that adds two numbers."}]


@pytest.fixture
def client(appliance: Appliance, cast: Cast) -> openai.OpenAI:
    return openai.OpenAI(base_url=appliance.facts["base_url"], api_key=cast.alpha, max_retries=0)


def test_it_answers_a_chat_request(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=DEMO, messages=MESSAGES, max_tokens=12)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.usage.prompt_tokens > 10
    assert answer.model == DEMO


def test_it_streams_a_chat_with_usage_only_on_request(client: openai.OpenAI) -> None:
    plain = list(client.chat.completions.create(model=DEMO, messages=MESSAGES, max_tokens=8, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in plain)
    assert all(c.usage is None for c in plain)
    assert plain[-1].choices[0].finish_reason == "length"

    counted = list(
        client.chat.completions.create(
            model=DEMO, messages=MESSAGES, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    last = counted[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 8
    assert last.usage.model_dump()["prompt_cache_hit_tokens"] + last.usage.model_dump()["prompt_cache_miss_tokens"] == (
        last.usage.prompt_tokens
    )


def test_it_completes_text_streamed_and_not(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=DEMO, prompt="def add(a, b):", max_tokens=6, temperature=0)
    pieces = list(
        client.completions.create(model=DEMO, prompt="def add(a, b):", max_tokens=6, temperature=0, stream=True)
    )
    assert "".join(p.choices[0].text for p in pieces) == answer.choices[0].text
    assert pieces[-1].choices[0].finish_reason == "length"


def test_it_serves_many_async_streams_at_once(appliance: Appliance, cast: Cast) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> int:
        stream = await client.chat.completions.create(
            model=DEMO, messages=[{"role": "user", "content": f"Count from {number}."}], max_tokens=10, stream=True
        )
        return len([chunk async for chunk in stream if chunk.choices[0].delta.content])

    async def all_of_them() -> list[int]:
        async with openai.AsyncOpenAI(base_url=appliance.facts["base_url"], api_key=cast.beta, max_retries=0) as client:
            return await asyncio.gather(*(one(client, n) for n in range(12)))

    counts = asyncio.run(all_of_them())
    assert len(counts) == 12
    assert all(count > 0 for count in counts)


def test_it_lists_and_describes_models(client: openai.OpenAI) -> None:
    listed = {m.id: m for m in client.models.list()}
    assert listed[DEMO].model_dump()["max_model_len"] == 8192
    assert client.models.retrieve(DEMO).id == DEMO
    with pytest.raises(openai.NotFoundError) as unknown:
        client.models.retrieve("no-such-model")
    assert unknown.value.code == "model_not_found"


def test_its_errors_are_the_clients_own_exceptions(appliance: Appliance, client: openai.OpenAI) -> None:
    stranger = openai.OpenAI(base_url=appliance.facts["base_url"], api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as refused:
        stranger.chat.completions.create(model=DEMO, messages=MESSAGES)
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(model=DEMO, messages=[{"role": "user", "content": "word " * 9000}], max_tokens=1)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as malformed:
        client.chat.completions.create(model=DEMO, messages=MESSAGES, temperature=-3)
    assert malformed.value.param == "temperature"


def test_the_deepseek_shaped_model_answers_through_the_same_gateway(client: openai.OpenAI, deepseek: str) -> None:
    stream = client.chat.completions.create(model=deepseek, messages=MESSAGES, max_tokens=16, stream=True)
    assert [c.choices[0].finish_reason for c in stream][-1] in {"length", "stop"}
    filled = client.completions.create(model=deepseek, prompt="def add(a, b):\n", suffix="\n    return c", max_tokens=8)
    assert filled.usage is not None
    assert filled.usage.completion_tokens >= 1


def test_a_model_without_fim_tokens_refuses_a_suffix(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model=DEMO, prompt="def add(a, b):\n", suffix="\n    return c", max_tokens=8)
    assert refused.value.param == "suffix"
