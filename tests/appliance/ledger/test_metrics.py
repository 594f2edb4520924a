"""How far behind the meter is, looked up in the journals themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from appliance.ledger import metrics
from appliance.ledger.meter import ship_all
from appliance.ledger.models import LedgerEntry
from inference.metering.journal import encode_line
from tests.appliance.ledger.test_meter import of_a_dead_writer, record

pytestmark = pytest.mark.usefixtures("db")


@dataclass
class Behind:
    lag_s: float
    unread_bytes: float


def behind(lag: metrics.Lag) -> Behind:
    return Behind(*(sample.value for metric in lag.collect() for sample in metric.samples))


@pytest.fixture
def lag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> metrics.Lag:
    it = metrics.Lag()
    it.journal_dir = tmp_path
    monkeypatch.setattr(metrics, "LAG", it)
    return it


def line(age_s: float, name: str = "a") -> bytes:
    return encode_line(msgspec.structs.replace(record(name), finished_at=time.time() - age_s))


def test_nothing_unread_is_no_lag(lag: metrics.Lag, tmp_path: Path) -> None:
    assert behind(lag) == Behind(0, 0)
    of_a_dead_writer(tmp_path, line(5))
    ship_all(tmp_path)
    assert behind(lag) == Behind(0, 0)
    assert lag.offsets == {}  # of a file that is gone nothing is remembered


def test_the_oldest_unread_line_counts_and_not_those_before_it(lag: metrics.Lag, tmp_path: Path) -> None:
    path = tmp_path / "gateway-1-1.jsonl"  # process 1 lives, so that the file stays
    path.write_bytes(line(500, "a"))
    ship_all(tmp_path)
    waiting = line(60, "b") + line(10, "c")
    with path.open("ab") as file:
        file.write(waiting)
    found = behind(lag)
    assert found.unread_bytes == len(waiting)
    assert 60 <= found.lag_s < 70
    ship_all(tmp_path)
    assert behind(lag) == Behind(0, 0)


def test_a_torn_line_waits_since_it_was_written(lag: metrics.Lag, tmp_path: Path) -> None:
    (tmp_path / "gateway-1-1.jsonl").write_bytes(line(900)[:40])
    ship_all(tmp_path)
    found = behind(lag)
    assert found.unread_bytes == 40
    assert found.lag_s < 30


def test_the_torn_line_of_a_dead_writer_is_damage_and_no_lag(lag: metrics.Lag, tmp_path: Path) -> None:
    path = of_a_dead_writer(tmp_path, line(900, "a"), line(900, "b")[:40])
    before = metrics.CORRUPT._value.get()
    ship_all(tmp_path)
    ship_all(tmp_path)
    assert behind(lag) == Behind(0, 0)
    assert metrics.CORRUPT._value.get() == before + 1
    assert path.exists()
    assert LedgerEntry.objects.count() == 1


def test_lines_tokens_and_damage_are_counted_once(lag: metrics.Lag, tmp_path: Path) -> None:
    def counts() -> list[float]:
        counters = (metrics.LINES, metrics.CORRUPT, metrics.TOKENS.labels("input"), metrics.TOKENS.labels("output"))
        return [counter._value.get() for counter in counters]

    before = counts()
    (tmp_path / "gateway-1-1.jsonl").write_bytes(line(1, "a") + b"damaged\n" + line(1, "b"))
    ship_all(tmp_path)
    ship_all(tmp_path)
    assert [after - was for after, was in zip(counts(), before, strict=True)] == [2, 1, 14, 10]
