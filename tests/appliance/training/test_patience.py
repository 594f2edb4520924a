"""Writes outlive a database that is away for a moment, and give up on one that stays away."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connection

from appliance.training import patience
from appliance.training.models import Job
from appliance.training.patience import patiently


def end_our_connection() -> None:
    """What a restart of PostgreSQL does to a connection."""
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_a_write_whose_connection_was_cut_is_done_on_a_new_one(job: Job) -> None:
    tries = []

    def write() -> int:
        tries.append(1)
        if len(tries) == 1:
            end_our_connection()
        return Job.objects.filter(pk=job.pk).update(trained_tokens=5)

    assert patiently(write) == 1
    assert len(tries) == 2
    assert Job.objects.get().trained_tokens == 5


@pytest.mark.usefixtures("database")
def test_a_database_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAIT_S", 0.5)
    tries = []

    def write() -> None:
        tries.append(1)
        end_our_connection()

    began = time.monotonic()
    with pytest.raises(OperationalError):
        patiently(write)
    assert len(tries) == 2
    assert time.monotonic() - began < 30
    connection.close()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_both_ways_in_which_a_database_is_away_are_waited_for(error: type[Exception]) -> None:
    outcomes: list[Callable[[], str]] = [lambda: "done"]

    def write() -> str:
        if len(tries) == 0:
            tries.append(1)
            raise error("away")
        return outcomes[0]()

    tries: list[int] = []
    assert patiently(write) == "done"


@pytest.mark.usefixtures("database")
def test_a_write_that_is_wrong_is_not_tried_again() -> None:
    tries = []

    def write() -> None:
        tries.append(1)
        raise IntegrityError("a duplicate")

    with pytest.raises(IntegrityError):
        patiently(write)
    assert len(tries) == 1
