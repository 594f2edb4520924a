"""A corpus is registered whole and cleaned; of it the files most like a tenant's own are recalled, up to the share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits
from finetune.data.recall.adding import add
from finetune.data.recall.choose import CorpusDamaged, Wanted, recall
from finetune.data.recall.corpora import Corpus, CorpusRefused, alone, corpora, remove, rows_of
from finetune.files import sha256_of
from tests.finetune.data.archives import tar_gz
from tests.finetune.data.corpora import shop, sky

SECRET = b"a key of the appliance"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "corpora"


def registered(root: Path, files: dict[str, str], name: str = "public") -> Corpus:
    return add(root, tar_gz(root.with_name(f"{name}.tar.gz"), dict(files)), name, SECRET)


def own_rows(path: Path, files: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "path": name}) + "\n" for name, text in files.items()))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_recalled_is_most_like_the_tenants_own(tmp_path: Path, root: Path) -> None:
    corpus = registered(root, shop(40, first=100) | sky(60))
    own = own_rows(tmp_path / "own.jsonl", shop(30))
    report = recall(Wanted(own, (), 0.2, seed=1), root, [corpus], tmp_path / "out")
    recalled = rows(tmp_path / "out" / "replay.jsonl")
    assert 4 <= len(recalled) == report["rows"]
    assert {row["path"].partition("/")[0] for row in recalled} == {"shop"}
    assert {row["replay"] for row in recalled} == {corpus.digest}
    assert report["corpora"] == [{"name": "public", "digest": corpus.digest, "rows": corpus.rows}]
    assert report["classifier"]["held_out_accuracy"] > 0.7  # a part of the others is like the tenant's


def test_the_share_is_of_everything_that_is_trained_on(tmp_path: Path, root: Path) -> None:
    corpus = registered(root, shop(60, first=100) | sky(40))
    own = own_rows(tmp_path / "own.jsonl", shop(40))
    for share in (0.05, 0.1, 0.3):
        report = recall(Wanted(own, (), share, seed=1), root, [corpus], tmp_path / "out")
        mixed = report["bytes"] / (report["bytes"] + report["own_bytes"])
        one_row = 2 * report["bytes"] / report["rows"] / report["own_bytes"]
        assert share - one_row < mixed <= share


def test_the_same_files_and_seed_give_the_same_bytes(tmp_path: Path, root: Path) -> None:
    corpus = registered(root, shop(30, first=100) | sky(30))
    own = own_rows(tmp_path / "own.jsonl", shop(20))
    made = [recall(Wanted(own, (), 0.2, seed=7), root, [corpus], tmp_path / name) for name in ("one", "two")]
    assert made[0] == made[1]
    assert made[0]["rows"]
    assert (tmp_path / "one" / "replay.jsonl").read_bytes() == (tmp_path / "two" / "replay.jsonl").read_bytes()


def test_what_the_tenant_has_or_holds_out_is_left_out(tmp_path: Path, root: Path) -> None:
    own, held_out = shop(20), shop(5, first=200)
    alike = {f"copy/{name}": f"{text}\n# copied\n" for name, text in (own | held_out).items()}
    corpus = registered(root, alike | sky(10) | shop(3, first=400))
    wanted = Wanted(
        own_rows(tmp_path / "own.jsonl", own), (own_rows(tmp_path / "beside.jsonl", held_out),), 0.5, seed=1
    )
    report = recall(wanted, root, [corpus], tmp_path / "out")
    paths = {row["path"] for row in rows(tmp_path / "out" / "replay.jsonl")}
    assert report["near_duplicates_left_out"] == 25
    assert set(shop(3, first=400)) <= paths
    assert not [path for path in paths if path.startswith("copy/")]


def test_too_few_rows_recall_nothing(tmp_path: Path, root: Path) -> None:
    corpus = registered(root, sky(20))
    own = own_rows(tmp_path / "own.jsonl", shop(9))
    report = recall(Wanted(own, (), 0.5, seed=1), root, [corpus], tmp_path / "out")
    assert (report["rows"], report["left_out"]) == (0, "fewer than 10 rows to learn from")
    assert (tmp_path / "out" / "replay.jsonl").read_bytes() == b""


def test_a_corpus_that_was_changed_is_not_used(tmp_path: Path, root: Path) -> None:
    corpus = registered(root, sky(20))
    with rows_of(root, corpus).open("a") as file:
        file.write('{"text":"more"}\n')
    own = own_rows(tmp_path / "own.jsonl", shop(20))
    with pytest.raises(CorpusDamaged, match="public"):
        recall(Wanted(own, (), 0.1, seed=1), root, [corpus], tmp_path / "out")
    argv = [
        sys.executable, "-m", "finetune.data.recall", "--own", str(own), "--corpora", str(root), "--share", "0.1",
        "--seed", "1", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 5


def test_a_corpus_is_cleaned_and_named_by_its_content(root: Path) -> None:
    files = sky(12) | {"sky/login.py": next(iter(sky(1, first=90).values())) + '\nmail = "bob.smith@corp.cn"\n'}
    corpus = registered(root, files)
    assert corpora(root) == [corpus]
    assert sha256_of(rows_of(root, corpus)) == corpus.digest
    assert (root / corpus.digest).stat().st_mode & 0o777 == 0o700
    assert b"bob.smith" not in rows_of(root, corpus).read_bytes()
    assert registered(root, files) == corpus, "the same again changes nothing"
    assert [path.name for path in root.iterdir() if not path.name.startswith(".lock")] == [corpus.digest]


def test_a_directory_is_read_like_an_archive_without_links_and_history(tmp_path: Path, root: Path) -> None:
    tree = tmp_path / "tree"
    for name, text in (sky(12) | {".git/hooks/sample.py": next(iter(shop(1).values()))}).items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    outside = tmp_path / "outside.py"
    outside.write_text(next(iter(shop(1, first=5).values())))
    (tree / "link.py").symlink_to(outside)
    (tree / "above").symlink_to(tmp_path)
    os.mkfifo(tree / "pipe.py")
    corpus = add(root, tree, "tree", SECRET)
    assert {row["path"] for row in rows(rows_of(root, corpus))} == set(sky(12))
    with pytest.raises(CorpusRefused, match="registered already, as 'tree'"):
        registered(root, sky(12), "packed")


def test_a_hostile_archive_is_refused_and_leaves_nothing(root: Path) -> None:
    with pytest.raises(DatasetRefused, match="upwards"):
        registered(root, {"../../etc/cron.py": "x = 1\n"})
    assert corpora(root) == []
    assert [path.name for path in root.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("pairs.jsonl", "public", "source code"),
        ("missing.tar.gz", "public", "neither a file nor a directory"),
        ("code.tar.gz", "Public/..", "a name has"),
    ],
)
def test_what_can_not_be_a_corpus_is_refused(tmp_path: Path, root: Path, source: str, name: str, said: str) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(CorpusRefused, match=said):
        add(root, tmp_path / source, name, SECRET)


def test_a_directory_above_the_limits_is_refused(tmp_path: Path, root: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(4):
        (tree / f"{number}.py").write_text("x" * 600)
    with pytest.raises(DatasetRefused, match="in parts"):
        add(root, tree, "tree", SECRET, limits=Limits(unpacked_bytes=2000))


def test_a_name_is_taken_until_it_is_removed(root: Path) -> None:
    first = registered(root, sky(12))
    with pytest.raises(CorpusRefused, match="other contents"):
        registered(root, shop(12))
    assert remove(root, "public") == first
    assert corpora(root) == []
    assert registered(root, shop(12)).digest != first.digest
    with pytest.raises(CorpusRefused, match="no corpus"):
        remove(root, "sky")


def test_one_at_a_time_changes_the_corpora(root: Path) -> None:
    registered(root, sky(12))
    with alone(root), pytest.raises(CorpusRefused, match="at the moment"):
        remove(root, "public")
    assert remove(root, "public").name == "public"
