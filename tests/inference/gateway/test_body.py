"""Names given twice are found, whatever the body looks like: compared with a parser that keeps every name. Lists and
objects are counted. Large bodies are read in a thread.
"""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway import admit, body
from inference.gateway.body import parse
from inference.gateway.control_tokens import ControlTokens
from inference.gateway.directory import Directory, Key, Model, Snapshot
from inference.gateway.errors import ApiError
from inference.gateway.tokens import TokenCounter

TEXTS = st.text(alphabet='ab:"\\/{}\u00e9\n', max_size=6)


def objects(inner: Any) -> Any:
    """Objects as tuples of pairs, so that a name can come twice."""
    return st.lists(st.tuples(TEXTS, inner), max_size=4).map(tuple)


VALUES = st.recursive(
    st.none() | TEXTS | st.integers(), lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=8
)


def written(value: Any, colon: str, space: str) -> str:
    """JSON with colons of texts as given, and space around the others."""
    if isinstance(value, tuple):
        members = (f"{written(name, colon, space)}{space}:{space}{written(item, colon, space)}" for name, item in value)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item, colon, space) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace(":", colon)


def repeats(value: Any) -> bool:
    if isinstance(value, tuple):
        names = [name for name, _ in value]
        return len(set(names)) != len(names) or any(repeats(item) for _, item in value)
    return isinstance(value, list) and any(map(repeats, value))


@given(objects(VALUES), st.sampled_from([":", "\\u003a"]), st.sampled_from(["", " ", "\n"]))
def test_it_refuses_a_body_exactly_where_a_name_comes_twice(pairs: tuple[Any, ...], colon: str, space: str) -> None:
    raw = written(pairs, colon, space)
    if repeats(pairs):
        with pytest.raises(ApiError) as raised:
            parse(raw.encode())
        assert raised.value.status == 400
    else:
        assert parse(raw.encode()) == json.loads(raw)


def num_containers(value: Any) -> int:
    inner = [item for _, item in value] if isinstance(value, tuple) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + sum(map(num_containers, inner))


@given(objects(VALUES).filter(lambda pairs: not repeats(pairs)))
def test_it_takes_so_many_lists_and_objects_and_no_more(pairs: tuple[Any, ...]) -> None:
    raw = written(pairs, ":", " ").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body, "MAX_CONTAINERS", num_containers(pairs))
        parse(raw)
        patch.setattr(body, "MAX_CONTAINERS", num_containers(pairs) - 1)
        with pytest.raises(ApiError, match="lists and objects"):
            parse(raw)


def test_brackets_in_a_text_are_no_lists() -> None:
    content = '{["\\' * 100_000
    assert parse(json.dumps({"content": content}).encode()) == {"content": content}


@pytest.mark.parametrize(("size", "in_thread"), [(10, False), (200_000, True)])
def test_a_large_chat_is_read_and_searched_in_a_thread(
    size: int, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody else's stream waits for it."""
    seen: list[bool] = []

    def watched(work: Any) -> Any:
        def run(*given: Any) -> Any:
            seen.append(threading.current_thread() is not threading.main_thread())
            return work(*given)

        return run

    monkeypatch.setattr(body, "parse", watched(parse))
    monkeypatch.setattr(ControlTokens, "keep_literal", watched(ControlTokens.keep_literal))
    key = Key("k", "t", 10**6, 10, None, None)
    model = Model("m", "x", 0, 10**6, Path("/nonexistent"), False, None, "m")
    directory = Directory(Snapshot(models={"m": model}))
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "<|x|>" + "a" * size}]}).encode()
    admitted = asyncio.run(admit.admit(raw, "chat", key, directory, TokenCounter()))
    assert seen == [in_thread, in_thread]
    assert admitted.body["messages"][0]["content"] == "<\u200b|x|>" + "a" * size
