"""The books against the engines, from rows and files to what the command and the figures say."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone
from typer.testing import CliRunner

from appliance.fleet.models import EngineLife
from appliance.ledger import metrics
from appliance.ledger.models import JournalCursor, LedgerEntry
from appliance.ledger.reconcile import OnTheWay, lives_since, reconcile, what_is_on_the_way
from inference.gateway.open_table import beside, boot_id, tables
from inference.metering.books import Tokens
from inference.metering.journal import JournalWriter
from ops.cli.main import app
from tests.appliance.ledger.test_meter import record
from tests.fakes.worker import leave_open

pytestmark = pytest.mark.usefixtures("db")
NOW = timezone.now().replace(microsecond=0)


def engine(prompt: int, completion: int, read_at: datetime | None = NOW, **more: object) -> EngineLife:
    return EngineLife.objects.create(
        model_name="m", pid=1, pid_started=1, socket="s", log="l", started_at=NOW - timedelta(hours=1),
        prompt_tokens=prompt, generation_tokens=completion, counters_at=read_at, **more,
    )  # fmt: skip


def book(life: EngineLife | None, prompt: int, completion: int, ago_s: float = 60, **more: object) -> None:
    at = NOW - timedelta(seconds=ago_s)
    facts = {"life_id": None if life is None else life.pk, "outcome": "completed", "exact": True, **more}
    LedgerEntry.objects.create(
        request_id=f"req-{uuid.uuid4()}", tenant_id="alpha", model="m", endpoint="chat",
        started_at=at, finished_at=at, prompt_tokens=prompt, cached_tokens=0, completion_tokens=completion,
        engine_prompt_tokens=prompt, http_status=200, **facts,
    )  # fmt: skip


def command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["ledger", "reconcile", *arguments])
    return done.exit_code, done.stdout


def test_an_ended_engines_rest_is_unattributed() -> None:
    life = engine(100, 1000, ended_at=NOW)
    book(life, 60, 600)
    book(life, 30, 300, outcome="lost", exact=False)
    [books] = lives_since(NOW - timedelta(days=1))
    assert (books.has_ended, books.at_rest, books.num_requests, books.num_inexact, books.num_lost) == (
        True,
        True,
        2,
        1,
        1,
    )
    assert (books.ledger, books.unattributed, books.overbilled) == (Tokens(90, 900), Tokens(10, 100), Tokens())


def test_a_busy_engine_is_only_held_against_what_its_reading_can_show() -> None:
    life = engine(100, 1000, requests_running=1)
    book(life, 100, 1000)
    book(life, 50, 500, ago_s=-2)
    [books] = lives_since(NOW - timedelta(days=1))
    assert (books.unattributed, books.overbilled, books.unread) == (None, Tokens(), Tokens(50, 500))


def test_an_idle_engine_rests_unless_something_ended_after_its_reading() -> None:
    life = engine(100, 1000)
    book(life, 100, 990)
    assert [one.unattributed for one in lives_since(NOW)] == [Tokens(0, 10)]
    book(life, 0, 5, ago_s=-1)
    assert [one.unattributed for one in lives_since(NOW)] == [None]


def test_an_engine_whose_counters_were_never_read_accuses_nobody() -> None:
    book(engine(0, 0, None, ended_at=NOW), 10, 100)
    [books] = lives_since(NOW - timedelta(days=1))
    assert (books.overbilled, books.unread) == (Tokens(), Tokens(10, 100))


def test_the_command_fails_where_somebody_is_billed_too_much(tmp_path: Path) -> None:
    life = engine(100, 1000, ended_at=NOW)
    book(life, 100, 1000)
    code, told = command("--json")
    assert code == 0
    report = json.loads(told)
    assert report["overbilled"] == report["unattributed"] == {"prompt": 0, "completion": 0}
    book(life, 0, 1)
    code, told = command("--json")
    assert code == 1
    [shown] = json.loads(told)["lives"]
    assert (shown["life"], shown["overbilled_prompt"], shown["overbilled_generated"]) == (str(life.pk), 0, 1)
    code, told = command()
    assert code == 1
    assert "0 prompt, 1 generated" in told
    metrics.show_books(list(lives_since(NOW - timedelta(days=1))))
    assert metrics.REGISTRY.get_sample_value("coderack_meter_overbilled_tokens", {"direction": "output"}) == 1


def test_old_engines_are_left_out_and_unknown_ones_are_told_apart() -> None:
    old = engine(1, 1, NOW - timedelta(days=30), ended_at=NOW - timedelta(days=30))
    book(None, 3, 4)
    report = reconcile(settings.ENV.journal_dir, 7)
    assert (report.lives, report.elsewhere) == ((), Tokens(3, 4))
    assert [life.life_id for life in reconcile(settings.ENV.journal_dir, 60).lives] == [str(old.pk)]


def test_what_is_not_booked_yet_is_counted(tmp_path: Path) -> None:
    journal_dir = tmp_path / "journal"
    writer = JournalWriter(journal_dir, "gateway")
    writer.append(record("a"))
    writer.append(record("b"))
    JournalCursor.objects.create(name="gone.jsonl", corrupt_lines=3)
    leave_open(journal_dir)
    assert what_is_on_the_way(journal_dir) == OnTheWay(2, 3, 0)
    [path] = tables(beside(journal_dir))
    path.rename(path.with_name(path.name.replace(boot_id(), "0" * 32)))
    assert what_is_on_the_way(journal_dir) == OnTheWay(2, 3, 1)
    writer.close()
