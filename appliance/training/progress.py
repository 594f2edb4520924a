"""How far the cleaning of a file is, for its owner: beside the file's status, and among the waiting fine-tune's events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from appliance.training import lease
from appliance.training.events import add_event
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import JobEvent, StoredFile
from appliance.training.patience import patiently

STEPS = {"reading": "1 of 3, reading", "scanning": "2 of 3, looking for secrets", "writing": "3 of 3, writing"}


EVENT_EVERY = timedelta(minutes=1)  # cleaning may take two hours, and its events stay


def tell(file: StoredFile, heart: Heartbeat | None, told: dict[str, Any]) -> None:
    """Take in one line of the pipeline's progress. A database that is away for a moment must not cost the cleaning.

    Raises: LeaseLost.
    """
    text = words(told)
    waiting = StoredFile.objects.filter(pk=file.pk, status=StoredFile.Status.UPLOADED)
    patiently(lambda: waiting.update(status_details=text))
    if heart is not None:
        patiently(lambda: _say(heart, f"{file.filename}: {_step(told)}", f"{file.filename}: {text}"))


def _say(heart: Heartbeat, step: str, message: str) -> None:
    with lease.holding(heart.job_id, heart.fence):
        last = JobEvent.objects.filter(job_id=heart.job_id).order_by("-seq").first()
        if last is None or not last.message.startswith(step) or timezone.now() - last.created_at >= EVENT_EVERY:
            add_event(heart.job_id, message)


def words(told: dict[str, Any]) -> str:
    """One line for people."""
    return f"{_step(told)}: {told['rows']} rows, {told['characters'] / 1e6:.1f} MB"


def _step(told: dict[str, Any]) -> str:
    return f"cleaning, step {STEPS.get(told['stage'], told['stage'])}"
