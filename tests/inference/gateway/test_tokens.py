"""Counting tokens: the tokenizer's own numbers, and nobody waits while a large prompt is counted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from inference.gateway.tokens import TokenCounter
from tests.inference.gateway.test_control_tokens import marked_tokenizer


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    marked_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_texts_and_token_ids_are_counted_in_their_order(model_path: Path) -> None:
    texts = ["def f(a): return a", "x"]
    counted = [len(marked_tokenizer().encode(text)) for text in texts]
    counter = TokenCounter()
    mixed = {"prompt": [texts[0], [1, 2, 3], texts[1], [1]]}
    assert asyncio.run(counter.whole_prompt(model_path, mixed)) == sum(counted) + 4
    assert asyncio.run(counter.longest_prompt(model_path, mixed)) == max(*counted, 3)
    chat = {"messages": [{"role": "user", "content": texts}, {"role": "assistant", "content": None}]}
    assert asyncio.run(counter.longest_prompt(model_path, chat)) == sum(counted)


def test_the_loop_runs_on_while_a_large_prompt_is_counted(model_path: Path) -> None:
    async def longest_wait(counter: TokenCounter) -> float:
        """The loop's longest wait, as a part of the counting's time."""
        await counter.longest_prompt(model_path, {"prompt": "a"})
        began = last = time.monotonic()
        longest = 0.0
        counting = asyncio.create_task(counter.longest_prompt(model_path, {"prompt": "if a < b: return c\n" * 60_000}))
        while not counting.done():
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        return longest / (last - began)

    assert asyncio.run(longest_wait(TokenCounter())) < 0.5
