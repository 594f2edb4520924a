"""Texts from the bytes of an exchange, whatever those are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.conversations.said import exchange


@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read(request: bytes, answer: bytes, stream: bool) -> None:
    found = exchange(request, b"data: " + answer + b"\n\n", stream)
    json.dumps([said.text for said in found.asked] + [choice.text for choice in found.answers])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "content", "choices", "index", "delta", "message", "text", "prompt", "tool_calls"]),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON, JSON, st.booleans())
def test_any_json_is_read(request: object, answer: object, stream: bool) -> None:
    content = json.dumps(answer).encode()
    exchange(json.dumps(request).encode(), b"data: " + content + b"\n\n" if stream else content, stream)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"prompt": "a", "suffix": "b"}, [("prompt", "a"), ("suffix", "b")]),
        ({"prompt": ["a", "b"]}, [("prompt", '[\n  "a",\n  "b"\n]')]),
        ({"messages": [{"role": "system", "content": [{"type": "text", "text": "x"}]}]}, [("system", "x")]),
    ],
)
def test_prompts_and_messages_are_told_apart(body: object, asked: object) -> None:
    assert [(said.role, said.text) for said in exchange(json.dumps(body).encode(), b"", True).asked] == asked


def test_an_answer_in_one_piece_has_its_choices_and_tools() -> None:
    calls = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "reasoning_content": "so", "tool_calls": calls}
    answer = {"choices": [{"index": 1, "text": "b"}, {"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    first, second = exchange(b"{}", json.dumps(answer).encode(), False).answers
    assert (first.text, first.reasoning, json.loads(first.calls), first.finish_reason) == (
        "",
        "so",
        calls,
        "tool_calls",
    )
    assert second.text == "b"
