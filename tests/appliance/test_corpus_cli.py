"""`coderack data corpus`: registers, lists and removes, says who did it, and refuses in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.training.replay import corpora_dir
from ops.cli.main import app
from ops.cli.printing import Exit
from tests.finetune.data.archives import tar_gz
from tests.finetune.data.corpora import sky


@pytest.fixture(autouse=True)
def _clean(db: None) -> Iterator[None]:
    shutil.rmtree(corpora_dir(), ignore_errors=True)
    yield
    shutil.rmtree(corpora_dir(), ignore_errors=True)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", "corpus", *arguments])


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_corpus_is_registered_listed_and_removed(tmp_path: Path) -> None:
    assert "No corpus" in run("list").stdout
    archive = str(tar_gz(tmp_path / "public.tar.gz", dict(sky(12))))
    made = answer("add", archive, "--name", "public")
    assert (made["name"], made["rows"], made["source"]) == ("public", 12, "public.tar.gz")
    assert answer("list") == [made]
    done = run("remove", "public")
    assert (done.exit_code, done.stdout) == (0, "public removed\n")
    assert answer("list") == []
    acts = AuditEntry.objects.filter(action__startswith="corpus.").order_by("seq")
    assert [(entry.action, entry.subject, entry.details["digest"]) for entry in acts] == [
        ("corpus.add", "public", made["digest"]), ("corpus.remove", "public", made["digest"]),
    ]  # fmt: skip


def test_what_can_not_be_done_is_said_in_one_line(tmp_path: Path) -> None:
    hostile = tar_gz(tmp_path / "hostile.tar.gz", {"/etc/cron.py": "x = 1\n"})
    done = run("add", str(hostile), "--name", "public")
    assert done.exit_code == Exit.USAGE
    assert "absolute" in done.stderr
    assert run("remove", "public").exit_code == Exit.NOT_FOUND
    assert not AuditEntry.objects.filter(action__startswith="corpus.").exists()
