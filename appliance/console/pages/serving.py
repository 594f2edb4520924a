"""Serving: every replica with its state and why, every box that only fine-tunes, every device with its owner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from appliance.console import attention, words
from appliance.console.access import PersonRequest, operator_only
from appliance.fleet import boxes, leases
from appliance.fleet.models import AttachedServer, Deployment, Device, EngineLife, Replica
from appliance.training import lease
from inference.devices.info import device_order

LOG_BYTES = 8192
LOG_LINES = 20


@operator_only
def serving(request: PersonRequest) -> HttpResponse:
    """The page; `?part=live` is what refreshes."""
    part = request.GET.get("part") == "live"
    return render(request, "console/parts/serving_live.html" if part else "console/serving.html", facts())


def facts() -> dict[str, Any]:
    """Replicas, attached servers and devices as rows."""
    replicas = list(Replica.objects.select_related("deployment__model", "life"))
    owners = {device: str(replica) for replica in replicas for device in replica.devices} | leases.owners()
    return {
        "verdict": attention.verdict(),
        "replicas": [{"row": replica, "log": _log_tail(replica)} for replica in replicas],
        "lenders": Deployment.objects.filter(running=True, lends=True),
        "attached": AttachedServer.objects.select_related("life"),
        "devices": [
            {"row": device, "word": _word(device), "owner": owners.get(device.id, "")}
            for device in sorted(Device.everywhere.all(), key=lambda device: device_order(device.id))
        ],
        "boxes": [
            {"row": box, "word": words.HEALTHY if alive else words.UNSEEN, "jobs": lease.working_on(box.pk)}
            for box, alive in boxes.standing()
        ],
    }


def _word(device: Device) -> words.Word:
    if timezone.now() - device.seen_at > attention.POOL_SILENT:
        return words.UNSEEN
    return words.HEALTHY if device.healthy else words.UNHEALTHY


def _log_tail(replica: Replica) -> str:
    """The engine's last words, for a replica that failed."""
    if replica.state != "failed":
        return ""
    life = EngineLife.objects.filter(replica=replica).first()
    return last_lines(Path(life.log)) if life else ""


def last_lines(path: Path) -> str:
    """The end of a log file; empty when it can't be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            return "\n".join(file.read(LOG_BYTES).decode(errors="replace").splitlines()[-LOG_LINES:])
    except OSError:
        return ""
