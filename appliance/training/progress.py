"""How far the cleaning of a file is, for its owner: beside the file's status, and among the waiting fine-tune's events."""

from __future__ import annotations

from typing import Any

from appliance.training.events import say_once
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import StoredFile

STEPS = {"reading": "1 of 3, reading", "scanning": "2 of 3, looking for secrets", "writing": "3 of 3, writing"}


def tell(file: StoredFile, heart: Heartbeat | None, told: dict[str, Any]) -> None:
    """Take in one line of the pipeline's progress."""
    text = words(told)
    StoredFile.objects.filter(pk=file.pk, status=StoredFile.Status.UPLOADED).update(status_details=text)
    if heart is not None:
        say_once(heart.job_id, f"{file.filename}: {text}")


def words(told: dict[str, Any]) -> str:
    """One line for people."""
    step = STEPS.get(told["stage"], told["stage"])
    return f"cleaning, step {step}: {told['rows']} rows, {told['characters'] / 1e6:.1f} MB"
