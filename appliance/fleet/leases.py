"""Devices lent to fine-tunes: one row per owner, which runs out unless it is renewed. All times are the database's.

A device's row is its one owner, so whoever inserts it has the device. An expired row is removed by whoever wants the
device next, and only while it is still expired.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from appliance.fleet import loans
from appliance.fleet.models import Device, DeviceOwner
from appliance.fleet.owning import forget_expired, upgrade_makes_room
from inference.devices.info import box_of, device_order


def lease_device(job_id: str, ttl_s: float, box: str = "") -> str | None:
    """A device of a box: one that a replica lent to this fine-tune, else a healthy one without an owner, or None.

    The highest number first: replicas take the lowest ones. Only the home box' replicas lend.

    Asked again by an owner that has one, it renews that.
    """
    held = DeviceOwner.objects.filter(job_id=job_id).values_list("device_id", flat=True).first()
    if held is not None and renew(job_id, ttl_s):
        return held
    lent = loans.claim(job_id, ttl_s) if not box else None
    if lent is not None:
        return lent
    return next((device for device in _to_lend(box) if _take(device, job_id, ttl_s)), None)


def renew(job_id: str, ttl_s: float) -> bool:
    """Hold on to the device; False when it was lost."""
    return DeviceOwner.objects.filter(job_id=job_id).update(expires_at=_expiry(ttl_s)) > 0


def release(job_id: str) -> None:
    """Give the device back. Said twice, the second time changes nothing."""
    DeviceOwner.objects.filter(job_id=job_id).delete()


def forget_ended() -> None:
    """Remove the leases of fine-tunes whose worker was killed, where nobody has wanted the device since."""
    DeviceOwner.objects.filter(job_id__isnull=False, expires_at__lte=Now()).delete()


def num_free(box: str = "") -> int:
    """How many of a box' devices could be leased at the moment."""
    return len(_to_lend(box))


def any_free(box: str = "") -> bool:
    """Whether one of them could."""
    return num_free(box) > 0


def fine_tunes() -> list[str]:
    """The fine-tunes that hold devices or have some reserved, one entry for each device."""
    rows = DeviceOwner.objects.filter(job_id__isnull=False, expires_at__gt=Now())
    return [str(name).partition("/")[0] for name in rows.values_list("job_id", flat=True)]


def owners() -> dict[str, str]:
    """Who holds each device that is held: a replica's name, or a fine-tune's."""
    rows = DeviceOwner.objects.select_related("replica__deployment__model")
    return {row.device_id: str(row.replica) if row.replica else str(row.job_id).partition("/")[0] for row in rows}


def free_devices() -> list[str]:
    """Healthy devices that nobody holds, the highest number first."""
    owned = DeviceOwner.objects.filter(replica__isnull=False).values_list("device_id", flat=True)
    taken = set(owned) | leased() | loans.waiting_replicas_devices()
    healthy = Device.objects.filter(healthy=True).values_list("id", flat=True)
    return sorted((device for device in healthy if device not in taken), key=device_order, reverse=True)


def _to_lend(box: str) -> list[str]:
    """A box' own, where its trainers run. None of the home box while an upgrade has ended a model's engines there: they are
    for its next ones.
    """
    if box:
        held = set(
            DeviceOwner.objects.exclude(job_id__isnull=False, expires_at__lte=Now()).values_list("device_id", flat=True)
        )
        healthy = Device.everywhere.filter(box=box, healthy=True).values_list("id", flat=True)
        return sorted(set(healthy) - held, key=device_order, reverse=True)
    return [] if upgrade_makes_room() else [device for device in free_devices() if not box_of(device)]


def leased() -> set[str]:
    """The devices that fine-tunes hold; an expired lease no longer counts."""
    rows = DeviceOwner.objects.filter(job_id__isnull=False, expires_at__gt=Now())
    return set(rows.values_list("device_id", flat=True))


def _take(device: str, job_id: str, ttl_s: float) -> bool:
    """Become the owner, unless somebody was faster. One device per transaction, so that none waits for another."""
    with transaction.atomic():
        forget_expired([device])
        DeviceOwner.objects.bulk_create(
            [DeviceOwner(device_id=device, job_id=job_id, expires_at=_expiry(ttl_s))], ignore_conflicts=True
        )
    return DeviceOwner.objects.filter(device_id=device, job_id=job_id).exists()


def _expiry(ttl_s: float) -> Combinable:
    return Now() + timedelta(seconds=ttl_s)
