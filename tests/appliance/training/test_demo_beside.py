"""The demo's claim that two tenants' fine-tunes ran side by side, held against rows of jobs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from appliance.training.models import Job
from finetune.job import JobStatus
from ops.cli.demo_check.evidence import Evidence
from ops.cli.demo_check.jobs import begun_beside
from tests.appliance.training.cast import Cast


@pytest.fixture
def evidence(db: None) -> Evidence:
    """The test's own connection: its rows are not committed."""
    connection.ensure_connection()
    return Evidence(connection.connection, Path("/nowhere"))


def faults(cast: Cast, evidence: Evidence, ended_after_s: float | None, status: str = "running") -> list[str]:
    """What the checker says of a second tenant's job when the first tenant's ended so long after it was asked for."""
    first = cast.job(JobStatus.SUCCEEDED)
    second = cast.job(JobStatus.SUCCEEDED, tenant=cast.rivals)
    now = timezone.now()
    ended = None if ended_after_s is None else now + timedelta(seconds=ended_after_s)
    Job.objects.filter(pk=second.pk).update(created_at=now)
    Job.objects.filter(pk=first.pk).update(finished_at=ended)
    shown: dict[str, Any] = {"job": second.pk, "tenant": cast.rivals.pk, "beside": first.pk}
    return list(begun_beside({"beside": status}, shown, evidence))


def test_a_job_asked_for_before_the_other_one_ended_is_beside_it(cast: Cast, evidence: Evidence) -> None:
    assert faults(cast, evidence, 5.0) == []


@pytest.mark.parametrize("ended_after_s", [-5.0, None])
def test_one_that_was_asked_for_afterwards_or_beside_one_without_an_end_is_not(
    cast: Cast, evidence: Evidence, ended_after_s: float | None
) -> None:
    assert len(faults(cast, evidence, ended_after_s)) == 1


def test_a_status_that_no_running_job_has_is_not_believed(cast: Cast, evidence: Evidence) -> None:
    assert len(faults(cast, evidence, 5.0, "succeeded")) == 1
