"""What killed gateway workers left open is settled once, wherever the settling itself is cut short."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from appliance.ledger import metrics
from appliance.ledger.meter import ship_all
from appliance.ledger.models import LedgerEntry
from appliance.ledger.sweep import LOCK, Sweeper
from inference import failpoints
from inference.gateway.limits.scripts import CONTENT, OPEN, PREFIX, SCRIPTS
from inference.gateway.open_table import beside, boot_id, lost_record, read_table, tables
from inference.metering.journal import JournalWriter, UsageRecord, encode_line
from tests.fakes.worker import LIFE, leave_open
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")
REPO = Path(__file__).resolve().parents[3]
SCOPE = f"{PREFIX}t:alpha"


class Killed(BaseException):
    """A process that ends here does nothing more."""


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(settings.ENV.redis_dsn())
    yield client
    for key in client.scan_iter(f"{PREFIX}*"):
        client.delete(key)


@pytest.fixture
def journal_dir(tmp_path: Path, client: redis.Redis) -> Path:
    """A worker was killed with three reservations of 100 tokens of the day each."""
    for name in ("req-held", "req-open", "req-booked"):
        client.eval(
            SCRIPTS["reserve"].text, 3, OPEN, CONTENT, SCOPE, name, 45_000_000, 1, "c", 10, 1, 1, "d", 1000, 100
        )
    directory = tmp_path / "journal"
    directory.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    killed = subprocess.run(
        [sys.executable, "-m", "tests.fakes.worker", str(directory)], cwd=REPO, env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(tables(beside(directory))) == 1
    assert client.zcard(OPEN) == 3
    return directory


@pytest.fixture
def sweeper(journal_dir: Path, client: redis.Redis) -> Iterator[Sweeper]:
    it = Sweeper(journal_dir, client)
    yield it
    it.close()


def is_settled(journal_dir: Path, client: redis.Redis) -> None:
    rows = LedgerEntry.objects.values_list("request_id", "completion_tokens", "prompt_tokens", "outcome", "exact")
    assert list(rows) == [("req-open", 30, 0, "lost", False)]
    assert str(LedgerEntry.objects.get().life_id) == LIFE
    assert (client.zcard(OPEN), client.hlen(CONTENT), int(client.hget(SCOPE, "c"))) == (0, 0, 0)
    assert int(client.hget(SCOPE, "d") or 0) == 30 + 12
    assert tables(beside(journal_dir)) == []


def test_it_bills_what_was_seen_and_gives_back_the_rest(
    sweeper: Sweeper, journal_dir: Path, client: redis.Redis
) -> None:
    assert sweeper.sweep() == 1
    is_settled(journal_dir, client)
    assert sweeper.sweep() == 0
    is_settled(journal_dir, client)


@pytest.mark.parametrize("where", ["sweep.written", "sweep.booked", "sweep.told"])
def test_a_sweeper_that_is_killed_anywhere_is_followed_by_one_that_ends_it(
    where: str, sweeper: Sweeper, journal_dir: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(name: str) -> None:
        if name == where:
            raise Killed

    monkeypatch.setattr(failpoints, "reach", reach)
    with pytest.raises(Killed):
        sweeper.sweep()
    assert len(tables(beside(journal_dir))) == 1
    monkeypatch.undo()
    following = Sweeper(journal_dir, client)
    assert following.sweep() == 1
    following.close()
    is_settled(journal_dir, client)


def test_a_second_sweeper_leaves_it_to_the_first(sweeper: Sweeper, journal_dir: Path, client: redis.Redis) -> None:
    with (beside(journal_dir) / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sweeper.sweep() == 0
        assert not LedgerEntry.objects.exists()
    assert sweeper.sweep() == 1
    is_settled(journal_dir, client)


def test_the_workers_own_line_is_believed_rather_than_its_table(
    sweeper: Sweeper, journal_dir: Path, client: redis.Redis
) -> None:
    """It was killed between the journal's line and the mark in its table, and nobody has shipped that line yet."""
    [path] = tables(beside(journal_dir))
    (journal_dir / f"gateway-{path.name.split('-')[1]}-1.jsonl").write_bytes(encode_line(whole_of("req-open")))
    assert sweeper.sweep() == 1
    [row] = LedgerEntry.objects.all()
    assert (row.completion_tokens, row.prompt_tokens, row.exact, row.outcome) == (50, 7, True, "completed")
    assert int(client.hget(SCOPE, "d") or 0) == 50 + 7 + 12
    assert (client.zcard(OPEN), client.hlen(CONTENT)) == (0, 0)


def test_the_workers_own_line_replaces_what_was_booked_as_lost(sweeper: Sweeper, journal_dir: Path) -> None:
    sweeper.sweep()
    lost = LedgerEntry.objects.get()
    (journal_dir / "gateway-1-1.jsonl").write_bytes(encode_line(whole_of("req-open")))
    ship_all(journal_dir)
    row = LedgerEntry.objects.get()
    assert (lost.outcome, row.outcome, row.completion_tokens, row.exact) == ("lost", "completed", 50, True)


def whole_of(request_id: str) -> UsageRecord:
    return UsageRecord(
        request_id=request_id, tenant_id="alpha", key_id=None, model="m", endpoint="chat", stream=True, life_id=LIFE,
        replica_id=None, started_at=1_800_000_000.25, finished_at=1_800_000_001.5, prompt_tokens=7, cached_tokens=2,
        completion_tokens=50, engine_prompt_tokens=7, outcome="completed", http_status=200, ttft_ms=12, exact=True,
    )  # fmt: skip


def test_what_a_living_worker_has_open_is_left_alone(tmp_path: Path, client: redis.Redis) -> None:
    leave_open(tmp_path / "journal")
    assert Sweeper(tmp_path / "journal", client).sweep() == 0
    assert not LedgerEntry.objects.exists()
    assert len(tables(beside(tmp_path / "journal"))) == 1


def test_what_was_open_at_a_power_cut_is_settled_after_it(tmp_path: Path, client: redis.Redis) -> None:
    """The file is of another boot: its process number may belong to anybody by now."""
    leave_open(tmp_path / "journal")
    [path] = tables(beside(tmp_path / "journal"))
    path.rename(path.with_name(path.name.replace(boot_id(), "0" * 32)))
    it = Sweeper(tmp_path / "journal", client)
    assert it.sweep() == 1
    it.close()
    assert [(row.request_id, row.completion_tokens) for row in LedgerEntry.objects.all()] == [("req-open", 30)]


def test_without_redis_it_bills_and_gives_back_later(journal_dir: Path, client: redis.Redis) -> None:
    away = redis.Redis(unix_socket_path=str(journal_dir / "nobody.sock"))
    first = Sweeper(journal_dir, away)
    assert first.sweep() == 0
    assert LedgerEntry.objects.get().completion_tokens == 30
    assert client.zcard(OPEN) == 3
    first.close()
    second = Sweeper(journal_dir, client)
    assert second.sweep() == 1
    is_settled(journal_dir, client)


def test_while_the_disk_takes_no_line_the_table_stays(
    sweeper: Sweeper, journal_dir: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JournalWriter, "_write", full)
    assert sweeper.sweep() == 0
    waiting = list(sweeper._writer()._waiting)
    assert len(waiting) == 1
    assert sweeper.sweep() == 0
    # each pass would add to them, until memory's bound ends the meter
    assert list(sweeper._writer()._waiting) == waiting
    assert not LedgerEntry.objects.exists()
    monkeypatch.undo()
    wait_until(lambda: sweeper.sweep() == 1)
    is_settled(journal_dir, client)


def test_a_damaged_slot_is_counted_and_its_reservation_given_back(
    sweeper: Sweeper, journal_dir: Path, client: redis.Redis
) -> None:
    [path] = tables(beside(journal_dir))
    path.write_bytes(path.read_bytes().replace(b'"alpha"', b'"bravo"'))
    before = metrics.DAMAGED_SLOTS._value.get()
    away = Sweeper(journal_dir, redis.Redis(unix_socket_path=str(journal_dir / "nobody.sock")))
    assert away.sweep() == 0
    assert sweeper.sweep() == 1
    assert metrics.DAMAGED_SLOTS._value.get() == before + 1
    assert not LedgerEntry.objects.exists()
    assert (client.zcard(OPEN), int(client.hget(SCOPE, "d") or 0)) == (0, 12)


def test_a_table_that_outlived_its_worker_says_when_it_last_lived(journal_dir: Path) -> None:
    [path] = tables(beside(journal_dir))
    table = read_table(path)
    assert abs(table.beat - time.time()) < 600
    [streaming] = [slot for slot in table.slots if slot.request is not None]
    record = lost_record(streaming, table.beat)
    assert record is not None
    assert record.finished_at == max(table.beat, record.started_at)
