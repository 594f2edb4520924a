"""What is held out: rows unlike all others only, by what they are and not by where they stand."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import clusters
from finetune.data.clusters import CleanedRows, Clusters, Mark
from finetune.data.duplicates import NEAR_THRESHOLD, NearDuplicates, likeness
from finetune.data.prepare import Prepared, prepare
from finetune.data.rows import ChatRow, TextRow
from finetune.data.sketches import sketch_of
from finetune.data.split import FROM_ROWS, held_out
from tests.finetune.data.archives import code, tar_gz

SEED = 7


def marks_of(groups: list[int]) -> list[Mark]:
    """Marks of rows that are in the groups; the key is the row's own."""
    return [Mark(number * 7919 + group, groups.index(group) + 1) for number, group in enumerate(groups)]


@given(st.lists(st.integers(0, 70), min_size=FROM_ROWS, max_size=200), st.integers())
def test_a_row_of_a_larger_cluster_is_never_held_out(groups: list[int], seed: int) -> None:
    flags = held_out(lambda: marks_of(groups), seed)
    assert len(flags) == len(groups)
    alone = [groups.count(group) == 1 for group in groups]
    assert all(is_alone for is_alone, flag in zip(alone, flags, strict=True) if flag)
    assert any(flags) == any(alone)


@settings(max_examples=20)
@given(st.permutations(range(120)))
def test_the_order_of_the_rows_decides_nothing(order: list[int]) -> None:
    rows = [Mark(number * 7919, number + 1) for number in range(120)]
    moved = [Mark(rows[number].key, place) for place, number in enumerate(order, 1)]
    before = {mark.key for mark, flag in zip(rows, held_out(lambda: rows, SEED), strict=True) if flag}
    after = {mark.key for mark, flag in zip(moved, held_out(lambda: moved, SEED), strict=True) if flag}
    assert before == after


def test_under_fifty_rows_nothing_is_held_out() -> None:
    assert not any(held_out(lambda: marks_of(list(range(FROM_ROWS - 1))), SEED))
    assert any(held_out(lambda: marks_of(list(range(FROM_ROWS))), SEED))


def test_about_a_tenth_of_the_rows_alone_is_held_out() -> None:
    assert 70 < sum(held_out(lambda: marks_of(list(range(1000)) + [0] * 500), SEED)) < 130


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30), st.randoms())
def test_clusters_are_what_pairs_join_in_any_order(pairs: list[tuple[int, int]], random: object) -> None:
    def joined(some: list[tuple[int, int]]) -> list[int]:
        found = Clusters()
        for _ in range(20):
            found.add()
        for one, two in some:
            found.join(one, two)
        return [found.first_of(number) for number in range(20)]

    shuffled = pairs.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert joined(pairs) == joined(shuffled)
    assert all(joined(pairs)[one] == joined(pairs)[two] for one, two in pairs)
    assert all(first <= number for number, first in enumerate(joined(pairs)))


def test_all_earlier_rows_that_are_alike_are_told_even_those_that_were_near() -> None:
    words = [f"word{number}" for number in range(400)]
    near = NearDuplicates()
    chain = [" ".join(words[start : start + 300]) for start in (0, 8, 16, 24)]
    found = [near.alike(ChatRow(1, (("user", text), ("assistant", "yes")))) for text in chain]
    assert found[0] == []
    assert all(number - 1 in found[number] for number in (1, 2, 3))


def test_rows_that_differ_by_what_was_taken_out_become_one_cluster() -> None:
    found = Clusters()
    for _ in range(4):
        found.add()
    cleaned = CleanedRows(found)
    steps = " ".join(f"step{number}" for number in range(60))
    for number, text in enumerate(
        ("mail REDACTED_EMAIL_1 at REDACTED_IP_12", "mail REDACTED_EMAIL_9 at REDACTED_IP_3")
    ):
        cleaned.see(number, TextRow(f"{number}.py", text))
    cleaned.see(2, TextRow("c.py", f"{steps} then REDACTED_IP_1 and more"))
    cleaned.see(3, TextRow("d.py", f"{steps} then REDACTED_IP_2 and less"))
    assert [found.first_of(number) for number in range(4)] == [0, 0, 2, 2]
    assert cleaned.keys[0] == cleaned.keys[1]
    assert cleaned.keys[2] != cleaned.keys[3]


def pairs(tmp_path: Path, lines: list[dict[str, str]]) -> Prepared:
    (tmp_path / "upload").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return prepare(tmp_path / "upload", "a.jsonl", tmp_path / "out", b"key")


def split(out: Path) -> tuple[list[str], list[str]]:
    """The rows trained on and those held out, as texts without the placeholders' numbers."""
    flags = held_out(lambda: clusters.read(out / "clusters.txt"), SEED)
    lines = [clusters.NUMBERED.sub(r"\1", line) for line in (out / "rows.jsonl").read_text().splitlines()]
    both = list(zip(lines, flags, strict=True))
    return [line for line, flag in both if not flag], [line for line, flag in both if flag]


def conversations() -> list[dict[str, str]]:
    """Alone, in chains of near ones, and such as only cleaning makes alike."""
    words = [f"word{number}" for number in range(900)]
    found = [
        {"question": f"how does part {n} of {n * 31} work?", "answer": f"it turns {n * 17} times"} for n in range(90)
    ]
    for chain in range(5):
        texts = [" ".join(words[start : start + 300]) for start in range(chain * 100, chain * 100 + 40, 8)]
        found += [{"question": f"topic {chain}: {text}", "answer": "ask them"} for text in texts]
    found += [
        {"question": "whom do I ask?", "answer": f"{name}@corp.cn"} for name in ("bo.li", "al.wu", "c.xu", "d.he")
    ]
    return found


def test_no_row_held_out_is_like_one_that_is_trained_on(tmp_path: Path) -> None:
    found = pairs(tmp_path, conversations())
    train, validation = split(tmp_path / "out")
    assert len(train) + len(validation) == found.rows == 119
    assert len(validation) >= 3
    sketches = {line: sketch_of(line) for line in train + validation}
    assert all(likeness(sketches[one], sketches[two]) < NEAR_THRESHOLD for one in train for two in validation)
    assert all(likeness(sketches[one], sketches[two]) < NEAR_THRESHOLD for one, two in combinations(validation, 2))
    assert found.report["clusters"]["alone"] == 90
    assert found.report["clusters"]["largest"] >= 5
    assert "whom do I ask?" not in "".join(validation)


def test_the_same_rows_in_another_order_are_split_alike(tmp_path: Path) -> None:
    pairs(tmp_path, conversations())
    before = split(tmp_path / "out")[1]
    pairs(tmp_path, conversations()[::-1])
    assert sorted(split(tmp_path / "out")[1]) == sorted(before)


def test_files_of_an_archive_are_held_out_whole_whatever_their_order(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"src/m{number}.py": code(f"m{number}", number) for number in range(60)}
    held = []
    for names in (sorted(files), sorted(files, reverse=True)):
        prepare(tar_gz(tmp_path / "upload", {name: files[name] for name in names}), "a.tgz", tmp_path / "out", b"key")
        train, validation = split(tmp_path / "out")
        assert {json.loads(line)["text"] for line in train + validation} == set(files.values())
        held.append({json.loads(line)["path"] for line in validation})
    assert held[0] == held[1]
    assert 1 <= len(held[0]) < 20
