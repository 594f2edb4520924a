"""JSON stays JSON when a bare number in it was personal."""

from __future__ import annotations

import json
from pathlib import Path

from finetune.data.json_syntax import mended
from finetune.data.prepare import prepare
from finetune.data.rows import TextRow
from tests.finetune.data.archives import code, tar_gz


def test_a_placeholder_for_a_bare_number_gets_quotes_and_strings_stay() -> None:
    before = TextRow("a.json", '{"phone": 13812345678, "say": "x 13812345678 y", "n": [1, -13812345678.5]}')
    after = TextRow("a.json", before.text.replace("13812345678", "REDACTED_PHONE_1"))
    row = mended(before, after)
    assert row is not None
    one = "REDACTED_PHONE_1"
    assert json.loads(row.text) == {"phone": one, "say": f"x {one} y", "n": [1, one]}


def test_json_that_can_not_be_mended_is_left_out() -> None:
    assert mended(TextRow("a.json", "[1]"), TextRow("a.json", "[REDACTED_PHONE_1")) is None


def test_other_files_and_what_was_no_json_stay_as_they_are() -> None:
    for path, text in (("a.txt", "[1]"), ("a.json", "[1")):
        after = TextRow(path, "[REDACTED_PHONE_1")
        assert mended(TextRow(path, text), after) is after


def test_a_prepared_json_file_parses(tmp_path: Path) -> None:
    content = '{"name": "someone", "city": "somewhere", "phone": 13812345678, "words": "one two three four"}\n'
    source = tar_gz(tmp_path / "upload", {"data.json": content, "a.py": code("a")})
    prepare(source, "a.tar.gz", tmp_path / "out", b"key")
    rows = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    (text,) = [row["text"] for row in rows if row["path"] == "data.json"]
    assert json.loads(text)["phone"].startswith("REDACTED_")
