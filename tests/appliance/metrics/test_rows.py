"""Figures from rows: kept for a moment, absent without the database, and no connection is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from appliance.metrics import rows
from appliance.metrics.rows import Figure, Rows
from appliance.tenants.models import Tenant

TENANTS = Figure("coderack_test_tenants", "Tenants.")
NAMED = Figure("coderack_test_named", "Named.", ("name",))


def test_it_asks_the_database_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def read() -> Iterator[Metric]:
        asked.append(1)
        yield TENANTS.is_(len(asked))

    collector = Rows((TENANTS,), read)
    assert [len(list(collector.collect())) for _ in range(3)] == [1, 1, 1]
    assert len(asked) == 1
    monkeypatch.setattr(rows, "KEPT_S", -1.0)
    collector._until = 0.0
    list(collector.collect())
    list(collector.collect())
    assert len(asked) == 3


def test_without_the_database_there_is_no_figure_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    def read() -> Iterator[Metric]:
        yield TENANTS.is_(1)
        raise OperationalError("the server closed the connection\nunexpectedly")

    registry = CollectorRegistry()
    registry.register(Rows((TENANTS,), read))
    assert generate_latest(registry) == b""
    assert "no figures from the database: the server closed the connection" in caplog.text


def test_a_scrape_does_not_wait_behind_one_that_hangs_on_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "WAIT_S", 0.1)
    reached, answers = threading.Event(), threading.Event()

    def read() -> Iterator[Metric]:
        reached.set()
        answers.wait(30)
        yield TENANTS.is_(1)

    collector = Rows((TENANTS,), read)
    hangs = threading.Thread(target=lambda: list(collector.collect()))
    hangs.start()
    assert reached.wait(30)
    assert list(collector.collect()) == []
    answers.set()
    hangs.join(30)
    assert len(list(collector.collect())) == 1


def test_it_is_described_without_a_look_at_a_row() -> None:
    def read() -> Iterator[Metric]:
        raise AssertionError("asked")
        yield

    CollectorRegistry().register(Rows((TENANTS, NAMED), read))


@pytest.mark.usefixtures("db")
def test_a_scrapes_thread_leaves_no_connection() -> None:
    open_after: list[bool] = []

    def read() -> Iterator[Metric]:
        yield TENANTS.is_(Tenant.objects.count())

    def scrape() -> None:
        collector = Rows((TENANTS,), read)
        assert len(list(collector.collect())) == 1
        open_after.append(connection.connection is not None)

    thread = threading.Thread(target=scrape)
    thread.start()
    thread.join(30)
    assert open_after == [False]
