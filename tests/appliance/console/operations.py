"""Rows of upgrades and acceptance runs for the console's tests."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from appliance.operations.acceptance import root_of
from appliance.operations.models import AcceptanceRun, Upgrade, UpgradeState, UpgradeStep
from appliance.registry.models import ModelVersion

STEPS = ("preflight", "import", "beside", "smoke", "switch", "drain")


def upgrade(state: str = UpgradeState.DONE, steps: tuple[str, ...] = ("done",) * 6, **more: Any) -> Upgrade:
    """One upgrade of tiny-coder, with its steps in these states."""
    versions = [
        ModelVersion.objects.get_or_create(
            name="tiny-coder", digest=digest * 32, defaults={"path": f"/models/{digest}", "max_model_len": 8192}
        )[0]
        for digest in ("ab", "ce")
    ]
    fields: dict[str, Any] = {
        "name": "tiny-coder", "source": "/srv/tiny.bundle", "digest": "ce" * 32, "strategy": "beside", "created_by": "root",
        "from_model": versions[0], "to_model": versions[1],
    }  # fmt: skip
    row = Upgrade.objects.create(state=state, **{**fields, **more})
    begun = timezone.now() - timedelta(minutes=5)
    for index, (name, step) in enumerate(zip(STEPS, steps, strict=True)):
        waits, ended = step == "waiting", step in {"done", "failed", "undone"}
        UpgradeStep.objects.create(
            upgrade=row, index=index, name=name, state=step, attempts=0 if waits else 2, detail={"devices": ["cpu:0"]},
            reason="3 of 4 answers were right" if step == "failed" else "", started_at=None if waits else begun,
            finished_at=begun + timedelta(seconds=75) if ended else None,
        )  # fmt: skip
    return row


def accepted(verdict: str = "met", files: bool = False, **more: Any) -> AcceptanceRun:
    """One run, with its certificate where asked for."""
    now = timezone.now()
    fields: dict[str, Any] = {
        "model_name": "tiny-coder", "model_digest": "ab" * 32, "started_at": now - timedelta(minutes=20), "finished_at": now,
        "target_input_tps": 20000, "target_output_tps": 5000, "input_tps": 21234, "output_tps": 5120, "requests": 1240,
        "failed_requests": 0, "certificate_digest": "99" * 32, "created_by": "root",
    }  # fmt: skip
    run = AcceptanceRun.objects.create(verdict=verdict, folder="", **{**fields, **more})
    folder = root_of(settings.ENV) / str(run.pk)
    AcceptanceRun.objects.filter(pk=run.pk).update(folder=str(folder))
    if files:
        write(folder)
    run.refresh_from_db()
    return run


def write(folder: Path) -> None:
    """A certificate's files; what is in them is nothing to the console."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "certificate.html").write_text("<h1>Certificate</h1><script>alert(1)</script>")
    (folder / "certificate.json").write_text('{"verdict": "met"}')
