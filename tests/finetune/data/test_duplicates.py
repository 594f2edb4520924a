"""Exact and near duplicates."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.duplicates import ExactDuplicates, NearDuplicates, sketch_of
from finetune.data.rows import ChatRow, TextRow
from tests.finetune.data.archives import code


def test_the_same_content_under_another_path_is_an_exact_duplicate() -> None:
    exact = ExactDuplicates()
    assert [exact.is_repeated(TextRow(path, "x")) for path in ("a", "b")] == [False, True]


def test_chats_differ_by_roles_and_by_where_a_message_ends() -> None:
    exact = ExactDuplicates()
    rows = [
        ChatRow(1, (("user", "ab"), ("assistant", "c"))),
        ChatRow(2, (("user", "a"), ("assistant", "bc"))),
        ChatRow(3, (("system", "ab"), ("assistant", "c"))),
        ChatRow(9, (("user", "ab"), ("assistant", "c"))),
    ]
    assert [exact.is_repeated(row) for row in rows] == [False, False, False, True]


def test_a_slightly_changed_file_is_near_and_another_is_not() -> None:
    near = NearDuplicates()
    long = "".join(code(f"part{number}", number) for number in range(12))
    assert not near.is_near(TextRow("a.py", long))
    assert near.is_near(TextRow("b.py", long.replace("part3_one_3", "renamed", 1)))
    assert not near.is_near(TextRow("c.py", "".join(code(f"other{number}", number) for number in range(12))))


def test_the_estimate_is_close_to_the_true_likeness() -> None:
    words = [f"word{number}" for number in range(1000)]
    one, two = set(), set()
    for mine, text in ((one, words[:900]), (two, words[100:])):
        mine.update(" ".join(text[start : start + 5]) for start in range(len(text) - 4))
    estimate = sketch_of(" ".join(words[:900])).jaccard(sketch_of(" ".join(words[100:])))
    assert abs(estimate - len(one & two) / len(one | two)) < 0.12


@settings(deadline=None)
@given(st.text(max_size=100))
def test_a_text_is_always_near_itself(text: str) -> None:
    near = NearDuplicates()
    assert [near.is_near(TextRow("a", text)), near.is_near(TextRow("b", text))] == [False, True]
