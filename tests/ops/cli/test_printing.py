"""How the CLI speaks to people and to scripts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ops.cli.printing import Exit, fail, show_json, show_rows


def test_it_prints_rows_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"model": "deepseek-a", "next_start": None}, {"model": "deepseek-b", "next_start": 7}], False, "none")
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table == [["model", "next", "start"], ["deepseek-a", "\u2013"], ["deepseek-b", "7"]]


def test_it_prints_a_sentence_where_there_are_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], False, "No models yet: `coderack model add` [path] registers one.")
    assert capsys.readouterr().out == "No models yet: `coderack model add` [path] registers one.\n"


def test_it_prints_json_that_scripts_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], True, "none")
    assert json.loads(capsys.readouterr().out) == []
    show_json({"name": "模型", "since": datetime(2026, 1, 2, tzinfo=UTC)})
    text = capsys.readouterr().out
    assert "模型" in text
    assert json.loads(text)["since"] == "2026-01-02 00:00:00+00:00"


def test_it_fails_on_standard_error_with_a_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ops.cli.printing._Audience.scripts", False
    )  # an earlier command in this process may have said so
    ending = fail("there is no model [bold]", Exit.NOT_FOUND)
    told = capsys.readouterr()
    assert ending.exit_code == 5
    assert (told.out, told.err) == ("", "there is no model [bold]\n")
