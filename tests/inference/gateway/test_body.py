"""Names given twice are found, whatever the body looks like: compared with a parser that keeps every name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.body import parse
from inference.gateway.errors import ApiError

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
