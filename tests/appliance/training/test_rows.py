"""Which rows are held out: the same ones for every attempt, never also trained on, none where there are few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.training.models import Dataset
from appliance.training.rows import read_rows, rows_for, said_of
from finetune.data.prepare import prepare
from finetune.data.split import FROM_ROWS


def dataset(folder: Path, texts: list[str]) -> Dataset:
    """A dataset on disk; its row is in no database."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    return Dataset(kind="text", path=str(folder), digest="d", rows=len(texts), report={})


def split(tmp_path: Path, texts: list[str], seed: int = 1, attempt: str = "1") -> tuple[list[str], list[str], int]:
    """The texts to train on, those held out, and how many there are to train on."""
    folder = tmp_path / "attempts" / attempt
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out, count = rows_for(seed, folder, dataset(tmp_path / "data", texts), None)
    return (
        [row["text"] for row in read_rows(train)],
        [row["text"] for file in held_out for row in read_rows(file)],
        count,
    )


def texts(count: int) -> list[str]:
    return [f"row {number} 训练" for number in range(count)]


def test_every_attempt_at_a_job_splits_alike(tmp_path: Path) -> None:
    assert split(tmp_path, texts(200), attempt="1") == split(tmp_path, texts(200), attempt="2")


def test_another_seed_holds_out_other_rows(tmp_path: Path) -> None:
    assert split(tmp_path, texts(200), seed=1)[1] != split(tmp_path, texts(200), seed=2, attempt="2")[1]


@pytest.mark.parametrize("seed", range(5))
def test_every_row_is_on_exactly_one_side_in_its_old_order(tmp_path: Path, seed: int) -> None:
    train, held_out, count = split(tmp_path, texts(300), seed)
    assert set(train).isdisjoint(held_out)
    assert sorted(train + held_out) == sorted(texts(300))
    assert train == [text for text in texts(300) if text in train]
    assert count == len(train)


def test_about_a_tenth_is_held_out(tmp_path: Path) -> None:
    _, held_out, _ = split(tmp_path, texts(5000))
    assert 0.08 < len(held_out) / 5000 < 0.12


def test_a_row_that_stands_there_twice_is_trained_on(tmp_path: Path) -> None:
    train, held_out, _ = split(tmp_path, texts(100) + texts(50)[::-1])
    assert held_out
    assert set(held_out) <= set(texts(100)[50:])
    assert len(train) + len(held_out) == 150


def test_rows_that_join_later_do_not_move_the_others(tmp_path: Path) -> None:
    before = set(split(tmp_path, texts(100))[1])
    assert set(split(tmp_path, texts(150))[1]) & set(texts(100)) == before


@pytest.mark.parametrize("count", [1, FROM_ROWS - 1])
def test_of_few_rows_none_is_held_out(tmp_path: Path, count: int) -> None:
    assert split(tmp_path, texts(count)) == (texts(count), [], count)


def test_from_fifty_rows_on_some_are_held_out(tmp_path: Path) -> None:
    assert all(split(tmp_path, texts(FROM_ROWS), seed, str(seed))[1] for seed in range(20))


def test_with_a_validation_file_all_rows_are_trained_on(tmp_path: Path) -> None:
    training, validation = dataset(tmp_path / "a", texts(100)), dataset(tmp_path / "b", texts(3))
    assert rows_for(1, tmp_path, training, validation) == (
        tmp_path / "a" / "rows.jsonl", (tmp_path / "b" / "rows.jsonl",), 100
    )  # fmt: skip
    assert not (tmp_path / "train.jsonl").exists()


def test_splitting_leaves_the_dataset_as_it_is(tmp_path: Path) -> None:
    split(tmp_path, texts(100))
    before = (tmp_path / "data" / "rows.jsonl").read_bytes()
    split(tmp_path, texts(100), seed=3)
    assert (tmp_path / "data" / "rows.jsonl").read_bytes() == before


def test_a_cleaned_upload_is_split_by_its_clusters(tmp_path: Path) -> None:
    story = " ".join(f"word{number}" for number in range(200))
    pairs = [{"question": f"{story} {number}", "answer": "yes"} for number in range(40)]
    pairs += [{"question": f"what is {number * number}?", "answer": f"it is {number}"} for number in range(60)]
    (tmp_path / "upload").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    found = prepare(tmp_path / "upload", "pairs.jsonl", tmp_path / "data", b"secret")
    training = Dataset(kind="chat", path=str(tmp_path / "data"), digest="d", rows=found.rows, report=found.report)
    train, _, count = rows_for(1, tmp_path / "job", training, None)
    assert count == sum(1 for _ in read_rows(train))
    assert sum(story in row["messages"][0]["content"] for row in read_rows(train)) == 40
    assert found.report["clusters"] == {"clusters": 61, "alone": 60, "largest": 40}
    assert said_of(count, training, None) == f"{count} rows to train on, {100 - count} of 100 in 61 clusters held out"


def test_the_events_say_where_compared_rows_come_from(tmp_path: Path) -> None:
    few, other = dataset(tmp_path / "a", texts(3)), dataset(tmp_path / "b", texts(5))
    assert said_of(3, few, None) == "3 rows to train on; fewer than 50 are not split"
    assert said_of(3, few, other) == "3 rows to train on, 5 of validation_file to compare with"
