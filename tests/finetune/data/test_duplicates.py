"""Exact and near duplicates."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.duplicates import ExactDuplicates, NearDuplicates, likeness, sketch_of
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
    estimate = likeness(sketch_of(" ".join(words[:900])), sketch_of(" ".join(words[100:])))
    assert abs(estimate - len(one & two) / len(one | two)) < 0.12


@settings(deadline=None)
@given(st.text(max_size=100))
def test_a_text_is_always_near_itself(text: str) -> None:
    near = NearDuplicates()
    assert [near.is_near(TextRow("a", text)), near.is_near(TextRow("b", text))] == [False, True]


def test_what_is_remembered_of_a_row_stays_below_a_kibibyte() -> None:
    near = NearDuplicates()
    rows = [TextRow("a", " ".join(f"w{number}x{word}" for word in range(30))) for number in range(1500)]
    near.is_near(rows[0])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    assert not any(near.is_near(row) for row in rows[1:])
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown / len(rows) < 1024


def test_a_large_file_is_sketched_in_little_memory() -> None:
    text = " ".join(map(str, range(60_000)))
    tracemalloc.start()
    sketch_of(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20
