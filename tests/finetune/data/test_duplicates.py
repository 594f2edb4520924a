"""Exact and near duplicates."""

from __future__ import annotations

import tracemalloc

import numpy as np
from datasketch import MinHash  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.duplicates import ExactDuplicates, NearDuplicates, likeness
from finetune.data.rows import ChatRow, TextRow
from finetune.data.sketches import NUM_PERMUTATIONS, SCHEME, SEED, shingles_of, sketch_of
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


def test_a_sketch_is_the_one_that_datasketch_makes_of_the_same_hashes() -> None:
    hashes = shingles_of(code("one") + code("two"))
    theirs = MinHash(num_perm=NUM_PERMUTATIONS, seed=SEED, scheme=SCHEME, hashfunc=int)
    theirs.update_batch(hashes.tolist())
    assert sketch_of(code("one") + code("two")).tolist() == theirs.hashvalues.tolist()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["word", "x1", "_y", "中文", "=", "(", "é"]), min_size=1, max_size=40), st.data())
def test_runs_depend_on_tokens_and_neither_on_blanks_nor_on_where_they_stand(
    tokens: list[str], data: st.DataObject
) -> None:
    def written(between: st.SearchStrategy[str]) -> str:
        return "".join(token + data.draw(between) for token in tokens)

    blanks = st.text(" \t\n", min_size=1, max_size=5)
    assert shingles_of(written(blanks)).tolist() == shingles_of("\n \n" + written(blanks)).tolist()
    assert len(shingles_of(written(blanks))) == max(1, len(tokens) - 4)


def test_different_runs_have_different_hashes_wherever_a_text_is_cut() -> None:
    text = " ".join(f"w{number}" for number in range(60_000))
    hashes = shingles_of(text)
    assert len(hashes) == 60_000 - 4
    assert len(np.unique(hashes)) > 59_950
    assert hashes[30_000:].tolist() == shingles_of(text[text.index("w30000 ") :]).tolist()


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
