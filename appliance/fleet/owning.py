"""What leases and loans of devices have in common: rows that ran out, and the time in which nobody borrows."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models.functions import Now

from appliance.fleet.models import DeviceOwner
from appliance.operations.models import Upgrade, UpgradeState
from ops.upgrade.preflight import INSTEAD


def forget_expired(devices: Iterable[str]) -> None:
    """Make room on devices whose fine-tune did not renew its lease."""
    DeviceOwner.objects.filter(device_id__in=list(devices), job_id__isnull=False, expires_at__lte=Now()).delete()


def upgrade_makes_room() -> bool:
    """Whether an upgrade has ended a model's engines to make room: the devices are for its next ones."""
    return Upgrade.objects.filter(state=UpgradeState.RUNNING, strategy=INSTEAD).exists()
