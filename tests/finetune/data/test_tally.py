"""Counts by language and licence in the report, and files under licences that are not wanted: from an archive to its rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune.data import tally, writing
from finetune.data.errors import DatasetRefused
from finetune.data.prepare import Prepared, prepare
from finetune.data.recall.adding import add
from tests.finetune.data.archives import code, tar_gz, zipped
from tests.finetune.data.licences import texts

HEADER = "#include <stdio.h>\n\nint {name}_open(const char *{name}_path);\nint {name}_close(int {name}_file);\n"
SOURCE = '#include "{name}.h"\n\nint {name}_open(const char *path)\n{{\n    return open_{name}(path, "{name}");\n}}\n'
FILES: dict[str, str | bytes] = {
    "pay/src/own.py": code("own"),
    "pay/src/borrowed.py": "# SPDX-License-Identifier: GPL-3.0-or-later\n" + code("borrowed"),
    "pay/src/choice.py": "# SPDX-License-Identifier: GPL-3.0-or-later OR MIT\n" + code("choice"),
    "pay/vendor/zed/zed.c": SOURCE.format(name="zed"),
    "pay/vendor/zed/zed.h": HEADER.format(name="zed"),
    "pay/vendor/zed/LICENSE": texts.ZLIB,
    "pay/vendor/ghost/ghost.c": "/* " + texts.GPL_2_ONLY + " */\n" + SOURCE.format(name="ghost"),
    "pay/empty.py": " ",
    "pay/LICENSE": texts.MIT,
    "pay/logo.bin": b"\0",
}


def made(tmp_path: Path, files: dict[str, str | bytes], *unwanted: str) -> Prepared:
    return prepare(tar_gz(tmp_path / "upload", files), "a.tgz", tmp_path / "out", b"s", unwanted_licences=unwanted)


def by(report: dict[str, Any], part: str, key: str) -> dict[str, tuple[int, int]]:
    """Files and kept ones of each name."""
    return {row[key]: (row["files"], row["kept"]) for row in report[part]}


def paths(out: Path) -> set[str]:
    return {json.loads(line)["path"] for line in (out / "rows.jsonl").read_text().splitlines()}


def test_files_are_counted_by_language_and_licence_and_none_is_dropped_for_it(tmp_path: Path) -> None:
    found = made(tmp_path, FILES)
    report = found.report
    assert by(report, "languages", "language") == {"Python": (4, 3), "C": (3, 3), "Text": (2, 2)}
    assert by(report, "licences", "licence") == {
        "MIT": (3, 2),
        "GPL-3.0-or-later": (1, 1),
        "GPL-3.0-or-later OR MIT": (1, 1),
        "Zlib": (3, 3),
        "GPL-2.0-only": (1, 1),
    }
    for part in ("languages", "licences"):
        assert sum(row["kept"] for row in report[part]) == found.rows == report["rows"]["kept"]
        assert all(row["files"] == row["kept"] + row["dropped"] for row in report[part])
        assert sum(row["bytes"] for row in report[part]) == sum(
            len(text) for name, text in FILES.items() if name[-3:] != "bin"
        )
    assert report["licence_of_upload"] == "MIT"
    assert report["unwanted_licences"] == []
    assert report["filters"]["licence"]["dropped"] == {}


def test_what_is_under_another_licence_than_the_upload_is_named_by_directory(tmp_path: Path) -> None:
    report = made(tmp_path, FILES).report
    assert report["other_licences"] == [
        {"directory": "pay/vendor/zed", "licence": "Zlib", "files": 3, "kept": 3},
        {"directory": "pay/src", "licence": "GPL-3.0-or-later", "files": 1, "kept": 1},
        {"directory": "pay/src", "licence": "GPL-3.0-or-later OR MIT", "files": 1, "kept": 1},
        {"directory": "pay/vendor/ghost", "licence": "GPL-2.0-only", "files": 1, "kept": 1},
    ]
    page = (tmp_path / "out/report.html").read_text()
    assert "pay/vendor/ghost" in page
    assert "strong copyleft" in page


def test_unwanted_families_are_dropped_with_the_reason(tmp_path: Path) -> None:
    found = made(tmp_path, FILES, "strong_copyleft", "Zlib")
    assert paths(tmp_path / "out") == {"pay/src/own.py", "pay/src/choice.py", "pay/LICENSE"}
    assert found.report["filters"]["licence"] == {
        "in": 8,
        "kept": 3,
        "dropped": {
            "its licence is not wanted: Zlib": 3,
            "its licence is not wanted: strong copyleft": 2,
        },
    }
    assert by(found.report, "licences", "licence")["Zlib"] == (3, 0)
    assert found.report["unwanted_licences"] == ["strong_copyleft", "Zlib"]


def test_a_licence_file_that_comes_last_rules_what_came_before(tmp_path: Path) -> None:
    gpl: dict[str, str | bytes] = {"a/x.py": code("x"), "b/y.py": code("y"), "b/COPYING": texts.GPL_2_ONLY}
    made(tmp_path, gpl, "strong_copyleft")
    assert paths(tmp_path / "out") == {"a/x.py"}


def test_a_dropped_file_does_not_stand_in_for_its_copy_under_another_licence(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a/x.py": code("x"), "a/COPYING": texts.GPL_2_ONLY, "b/x.py": code("x")}
    made(tmp_path, files, "strong_copyleft")
    assert paths(tmp_path / "out") == {"b/x.py"}


def test_an_upload_of_unwanted_files_only_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused, match="2 x its licence is not wanted: strong copyleft"):
        made(tmp_path, {"a.py": code("a"), "COPYING": texts.GPL_2_ONLY}, "strong_copyleft")


def test_a_company_that_marks_its_own_files_sees_only_what_is_not_its_own(tmp_path: Path) -> None:
    own = "# Copyright Acme. All rights reserved. Confidential.\n"
    report = made(tmp_path, {"a/a.py": own + code("a"), "b/b.py": "# MIT License\n" + code("b")}).report
    assert by(report, "licences", "licence") == {"Proprietary": (1, 1), "MIT": (1, 1)}
    assert [row["directory"] for row in report["other_licences"]] == ["b"]
    assert report["licence_of_upload"] == "none found"


def test_headers_that_fit_both_languages_follow_the_sources_beside_them(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.h": HEADER.format(name="a"), "b.cpp": SOURCE.format(name="b")}
    assert by(made(tmp_path, files).report, "languages", "language") == {"C++": (2, 2)}


def test_a_file_that_cleaning_leaves_out_is_not_counted_as_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "was_broken", lambda row, cleaned: row.path == "odd.py")
    found = made(tmp_path, {"a.py": code("a"), "odd.py": code("odd"), "fine.c": SOURCE.format(name="fine")})
    assert sum(found.report["left_out_by_cleaning"].values()) == 1
    assert by(found.report, "languages", "language") == {"Python": (2, 1), "C": (1, 1)}
    assert by(found.report, "licences", "licence") == {"none found": (3, 2)}


def test_what_a_file_says_of_its_licence_and_a_directorys_name_give_nothing_away(tmp_path: Path) -> None:
    secret = "ghp_1234567890abcdefghijABCDEFGHIJ123456"
    head = f"# SPDX-License-Identifier: LicenseRef-{secret}\n"
    files: dict[str, str | bytes] = {
        "bob.smith@corp.cn/a.py": head + code("a"),
        "b.py": code("b"),
        "LICENSE": texts.MIT,
    }
    report = made(tmp_path, files, "other").report
    told = json.dumps(report) + (tmp_path / "out/report.html").read_text()
    assert secret not in told
    assert "bob.smith" not in told
    assert by(report, "licences", "licence")["other"] == (1, 0)


def test_more_directories_than_are_counted_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MOST_COUNTED", 3)
    files: dict[str, str | bytes] = {f"d{n}/a.py": "# The MIT License\n" + code(f"n{n}") for n in range(6)}
    report = made(tmp_path, files).report
    assert by(report, "licences", "licence") == {"MIT": (6, 6)}
    assert len(report["other_licences"]) == 3


def test_a_public_corpus_is_registered_without_unwanted_files(tmp_path: Path) -> None:
    corpus = add(
        tmp_path / "corpora", tar_gz(tmp_path / "a.tgz", FILES), "a", b"s", unwanted_licences=("strong_copyleft",)
    )
    assert corpus.rows == 6
    assert paths(tmp_path / "corpora" / corpus.digest) == {
        "pay/LICENSE", "pay/src/choice.py", "pay/src/own.py",
        "pay/vendor/zed/LICENSE", "pay/vendor/zed/zed.c", "pay/vendor/zed/zed.h",
    }  # fmt: skip


def test_chats_have_neither_languages_nor_licences(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text(json.dumps({"question": "# GPL", "answer": "2"}) + "\n")
    report = prepare(path, "a.jsonl", tmp_path / "out", b"s", unwanted_licences=("strong_copyleft",)).report
    assert not {"languages", "licences", "licence_of_upload"} & set(report)


def test_the_command_takes_a_list_and_refuses_what_is_no_licence(tmp_path: Path) -> None:
    zipped(tmp_path / "upload", {"a.py": code("a"), "c/b.py": code("b"), "c/LICENSE": texts.ZLIB})
    (tmp_path / "key").write_bytes(b"s")
    argv = [sys.executable, "-m", "finetune.data", str(tmp_path / "upload"), "--filename", "a.zip"]
    argv += ["--out", str(tmp_path / "out"), "--secret-file", str(tmp_path / "key"), "--unwanted-licences"]
    wrong = subprocess.run([*argv, "MIT,copyleft"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "copyleft: neither a family" in wrong.stderr
    done = subprocess.run([*argv, "permissive"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert paths(tmp_path / "out") == {"a.py"}
