"""The inventory as rows: the pool's devices, and those of the workers on other boxes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from django.db import transaction
from django.db.models.functions import Now

from appliance.fleet.models import Box, Device
from inference.devices.info import DeviceInfo


@transaction.atomic
def save_inventory(devices: Iterable[DeviceInfo], box: Box | None) -> None:
    """Replace what the pool, or a box's worker, had seen with what was just seen."""
    rows = [
        Device(
            id=d.id, kind=d.kind, name=d.name, memory_bytes=d.memory_bytes, memory_used_bytes=d.memory_used_bytes,
            utilisation=d.utilisation, temperature_c=d.temperature_c, healthy=d.healthy, reason=d.reason, seen_at=Now(),
            power_w=d.power_w, link_group=d.group, foreign=[asdict(process) for process in d.foreign], box=box,
        )
        for d in devices
    ]  # fmt: skip
    fields = [f.name for f in Device._meta.concrete_fields if not f.primary_key]
    Device.everywhere.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=fields)
    Device.everywhere.filter(box=box).exclude(id__in=[row.id for row in rows]).delete()
