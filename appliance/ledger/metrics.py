"""The meter's figures for Prometheus. How far behind it is, is looked up in the journals when somebody asks, so that it
shows also while the meter hangs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference.metering.books import LifeBooks, Tokens
from inference.metering.journal import UsageRecord, decode_line

MAX_LINE_BYTES = 64 * 1024

REGISTRY = CollectorRegistry()
LINES = Counter("coderack_meter_lines_booked", "Journal lines moved to the ledger.", registry=REGISTRY)
TOKENS = Counter(
    "coderack_meter_tokens_booked", "Tokens moved to the ledger, canaries included.", ["direction"], registry=REGISTRY
)
CORRUPT = Counter("coderack_meter_corrupt_lines", "Damaged journal lines, kept and not booked.", registry=REGISTRY)
LOST = Counter(
    "coderack_meter_lost_requests", "Requests of killed gateway workers, billed by a bound.", registry=REGISTRY
)
DAMAGED_SLOTS = Counter(
    "coderack_meter_damaged_slots", "Open requests of killed workers that could not be read.", registry=REGISTRY
)
FAILED_PASSES = Counter("coderack_meter_failed_passes", "Passes that met an error, tried again.", registry=REGISTRY)
OVERBILLED = Gauge(
    "coderack_meter_overbilled_tokens",
    "Tokens billed above what their engines counted.",
    ["direction"],
    registry=REGISTRY,
)
UNATTRIBUTED = Gauge(
    "coderack_meter_unattributed_tokens", "Tokens that engines made and nobody is billed for.", ["direction"],
    registry=REGISTRY,
)  # fmt: skip
LAST_PASS = Gauge("coderack_meter_last_pass_timestamp_seconds", "When all journals were read last.", registry=REGISTRY)


def count(records: Sequence[UsageRecord], num_corrupt: int) -> None:
    """Some lines are in the ledger."""
    LINES.inc(len(records))
    TOKENS.labels("input").inc(sum(record.prompt_tokens for record in records))
    TOKENS.labels("output").inc(sum(record.completion_tokens for record in records))
    CORRUPT.inc(num_corrupt)


def show_books(books: Sequence[LifeBooks]) -> None:
    """How ledger and engines compare by now."""
    over = sum((life.overbilled for life in books), Tokens())
    unattributed = sum((life.unattributed or Tokens() for life in books), Tokens())
    for gauge, tokens in ((OVERBILLED, over), (UNATTRIBUTED, unattributed)):
        gauge.labels("input").set(tokens.prompt)
        gauge.labels("output").set(tokens.completion)


class Lag(Collector):
    """The oldest journal line that is not in the ledger. `offsets` says how far each file was read, by its name."""

    def __init__(self) -> None:
        self.journal_dir: Path | None = None
        self.offsets: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        """prometheus_client: the figures."""
        unread = [] if self.journal_dir is None else list(self._unread(self.journal_dir))
        oldest = min((at for _, at in unread), default=None)
        lag_s = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        yield GaugeMetricFamily("coderack_meter_lag_seconds", "Age of the oldest line that is not booked.", lag_s)
        size = float(sum(size for size, _ in unread))
        yield GaugeMetricFamily("coderack_meter_unread_bytes", "Journal bytes that are not booked.", size)

    def _unread(self, journal_dir: Path) -> Iterator[tuple[int, float]]:
        """Of each file that holds more than was read: how many bytes, and since when (Unix time)."""
        for path in journal_dir.glob("*.jsonl"):
            offset = self.offsets.get(path.name, 0)
            try:
                facts = path.stat()
                if facts.st_size > offset:
                    yield facts.st_size - offset, _ended_at(path, offset) or facts.st_mtime
            except FileNotFoundError:
                continue  # all of it was booked meanwhile


def _ended_at(path: Path, offset: int) -> float | None:
    """When the request of the line at this offset ended; None when the line is torn or damaged."""
    with path.open("rb") as file:
        file.seek(offset)
        record = decode_line(file.readline(MAX_LINE_BYTES).removesuffix(b"\n"), offset)
    return record.finished_at if isinstance(record, UsageRecord) else None


LAG = Lag()
REGISTRY.register(LAG)
