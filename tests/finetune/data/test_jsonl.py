"""JSON lines: what becomes a chat row, and which line and field a fault names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import jsonl
from finetune.data.limits import Limits
from finetune.data.rows import ChatRow

GOOD = '{"question": "Why?", "answer": "Because."}'


def read(tmp_path: Path, content: bytes | str, limits: Limits | None = None) -> list[ChatRow | str]:
    source = tmp_path / "upload"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(jsonl.read(source, limits or Limits()))


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"instruction": "Say", "output": "Yes"}, [("user", "Say"), ("assistant", "Yes")]),
        ({"instruction": "Say", "input": "x", "output": "Yes"}, [("user", "Say\n\nx"), ("assistant", "Yes")]),
        ({"instruction": "Say", "input": "", "output": "Yes"}, [("user", "Say"), ("assistant", "Yes")]),
        ({"question": "Q", "answer": "A"}, [("user", "Q"), ("assistant", "A")]),
        ({"prompt": "P", "completion": "C"}, [("user", "P"), ("assistant", "C")]),
        (
            {
                "messages": [
                    {"role": "developer", "content": "D"},
                    {"role": "user", "content": "U"},
                    {"role": "assistant", "content": "A"},
                ]
            },
            [("system", "D"), ("user", "U"), ("assistant", "A")],
        ),
    ],
)
def test_every_accepted_form_becomes_a_conversation(tmp_path: Path, row: object, messages: object) -> None:
    (found,) = read(tmp_path, json.dumps(row))
    assert isinstance(found, ChatRow)
    assert list(found.messages) == messages


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "the row isn't JSON"),
        ("[1]", "must be a JSON object, not a list"),
        ("[" * 60000, "nested too deeply"),
        ('{"a": NaN}', "NaN"),
        ('{"answer": "a", "answer": "b", "question": "q"}', "names a field twice"),
        ("{}", "none of them"),
        ('{"question": "q", "answer": "a", "prompt": "p"}', "more than one of them"),
        ('{"question": "q"}', "answer is missing"),
        ('{"question": "q", "answer": 5}', "answer must be a string, not a number"),
        ('{"question": "q", "answer": "  "}', "answer is empty"),
        ('{"question": "q", "answer": "\\ud800"}', "answer holds half of a surrogate pair"),
        ('{"question": "q", "answer": "a\\u0000"}', "answer holds a NUL"),
        ('{"instruction": "q", "output": "a", "input": []}', "input must be a string, not a list"),
        ('{"messages": {}}', "messages must be a list, not an object"),
        ('{"messages": []}', "must end with a message of role assistant"),
        ('{"messages": [7]}', "messages[0] must be an object"),
        ('{"messages": [{"role": "user", "content": "u"}]}', "must end with a message of role assistant"),
        ('{"messages": [{"role": "assistant", "content": "u"}]}', "at least one message with role user"),
        ('{"messages": [{"role": "owner", "content": "u"}]}', "messages[0].role must be one of"),
        ('{"messages": [{"role": [], "content": "u"}]}', "messages[0].role must be one of"),
        ('{"messages": [{"role": "user", "content": null}]}', "messages[0].content must be a string, not null"),
        ('{"messages": [{"role": "user", "content": "u", "tool_calls": []}]}', "messages[0].tool_calls isn't supported"),
        ('{"messages": [{"role": "user", "content": "u"}], "tools": [1]}', "tools isn't supported"),
    ],
)  # fmt: skip
def test_a_fault_names_its_line_and_its_field(tmp_path: Path, line: str, says: str) -> None:
    found = read(tmp_path, f"{GOOD}\n\n{line}\n{GOOD}")
    faults = [item for item in found if isinstance(item, str)]
    assert faults
    assert all(fault.startswith("line 3: ") for fault in faults)
    assert any(says in fault for fault in faults), faults
    assert sum(isinstance(item, ChatRow) for item in found) == 2


def test_a_system_message_in_the_middle_is_a_fault(tmp_path: Path) -> None:
    roles = ("user", "system", "assistant")
    (fault,) = read(tmp_path, json.dumps({"messages": [{"role": role, "content": "x"} for role in roles]}))
    assert "the first" in str(fault)


def test_bytes_that_are_not_utf_8_are_a_fault_of_their_line_only(tmp_path: Path) -> None:
    good, fault = read(tmp_path, GOOD.encode() + b"\n" + "中文".encode("gb18030"))
    assert isinstance(good, ChatRow)
    assert fault == "line 2: the row isn't UTF-8 (byte 1); save the file as UTF-8"


def test_a_row_over_the_limit_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    long = json.dumps({"question": "q", "answer": "a" * 70000})
    fault, good = read(tmp_path, f"{long}\n{GOOD}\n")
    assert fault == "line 1: the row is larger than 65536 bytes; shorten or split it"
    assert isinstance(good, ChatRow)
    assert good.line == 2


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_limit_is_exact(tmp_path: Path, ending: str) -> None:
    limits = Limits(row_bytes=len(GOOD))
    first, second = read(tmp_path, f"{GOOD}{ending or chr(10)}{GOOD[:-1]} {'}'}{ending}", limits)
    assert isinstance(first, ChatRow)
    assert "larger than" in str(second)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b"\xef\xbb\xbf" + GOOD.encode())
    assert isinstance(row, ChatRow)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    found = read(tmp_path_factory.mktemp("any"), content)
    assert all(isinstance(item, ChatRow) or item.startswith("line ") for item in found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "question", "answer", "input"]), inner, max_size=4
        )
    ),
)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_a_row_or_faults(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    assert read(tmp_path_factory.mktemp("any"), json.dumps(value))
