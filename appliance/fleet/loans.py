"""The rows of a loan: a replica's devices given to a fine-tune and taken back. The pool decides, a worker asks.

A device's row in DeviceOwner is its one owner all the while. It goes from the replica to the fine-tune in one update, under
a name that stands for the fine-tune until an attempt of it claims the devices, and back once no lease of the fine-tune
holds. All times are the database's.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from appliance.fleet.models import Deployment, DeviceOwner, DeviceWish, Replica
from appliance.fleet.owning import forget_expired, upgrade_makes_room
from inference.pool.lend_policy import Lending, Loan, Window
from inference.pool.states import ReplicaState

WISH_S = 30.0  # a sweep says it again every five seconds
RESERVED_S = 60.0  # from the hand-over until an attempt must have begun
_RESERVED = "lent"


def ask(job_id: str, turn: int) -> bool:
    """Say that a fine-tune waits for a device, and how many come before it.

    False where no deployment lends any, or none may be lent now.
    """
    if not Deployment.objects.filter(running=True, lends=True).exists() or upgrade_makes_room():
        return False
    DeviceWish.objects.update_or_create(job_id=job_id, defaults={"expires_at": _in(WISH_S), "turn": turn})
    return True


def forget(job_id: str) -> None:
    """A fine-tune wants no device any more: what was reserved for it goes back."""
    DeviceWish.objects.filter(job_id=job_id).delete()
    DeviceOwner.objects.filter(job_id=_reservation(job_id)).delete()


def claim(owner: str, ttl_s: float) -> str | None:
    """Make an attempt the owner of what is reserved for its fine-tune; the first of these devices, or None."""
    job_id = owner.partition("/")[0]
    reserved = DeviceOwner.objects.filter(job_id=_reservation(job_id), expires_at__gt=Now())
    if not reserved.update(job_id=owner, expires_at=_in(ttl_s)):
        return None
    DeviceWish.objects.filter(job_id=job_id).delete()
    return DeviceOwner.objects.filter(job_id=owner).order_by("device_id").values_list("device_id", flat=True).first()


def is_reserved(job_id: str) -> bool:
    """Whether devices wait for the fine-tune."""
    return DeviceOwner.objects.filter(job_id=_reservation(job_id), expires_at__gt=Now()).exists()


def asked_back(job_id: str) -> str | None:
    """Why the devices that a fine-tune borrowed are to come back; None when they are not."""
    return Replica.objects.filter(lent_to=job_id, asked_back=True).values_list("reason", flat=True).first()


def wishes() -> list[str]:
    """The fine-tunes that wait, in their turn."""
    return list(DeviceWish.objects.filter(expires_at__gt=Now()).values_list("job_id", flat=True))


def lend(replica_id: str, job_id: str) -> bool:
    """Put a loan on record; False when the replica is not ready, or lent already."""
    ready = Replica.objects.filter(id=replica_id, state=ReplicaState.READY.value, lent_to="")
    return ready.update(lent_to=job_id) == 1


def hand_over(replica_id: str, job_id: str) -> bool:
    """Make the fine-tune the owner of a resting replica's devices; False when it wants none, or they are not the replica's."""
    at_rest = Q(life=None) | Q(state=ReplicaState.SLEEPING.value)
    with transaction.atomic():
        row = Replica.objects.filter(at_rest, id=replica_id, lent_to=job_id, lent=False)
        if row.update(lent=True) != 1:
            return False
        wish = DeviceWish.objects.select_for_update().filter(job_id=job_id, expires_at__gt=Now())
        owned = DeviceOwner.objects.filter(replica_id=replica_id)
        devices = Replica.objects.values_list("devices", flat=True).get(id=replica_id)
        if not wish.exists() or owned.update(
            replica=None, job_id=_reservation(job_id), expires_at=_in(RESERVED_S)
        ) != len(devices):
            transaction.set_rollback(True)
            return False
    return True


def ask_back(replica_id: str, reason: str) -> None:
    """The worker sees it at the next checkpoint."""
    Replica.objects.filter(id=replica_id).exclude(lent_to="").update(asked_back=True, reason=reason)


def take_back(replica_id: str) -> bool:
    """End a loan: the replica is its devices' owner again, or still; False while somebody holds one of them."""
    with transaction.atomic():
        row = Replica.objects.filter(id=replica_id).exclude(lent_to="")
        if row.update(lent_to="", lent=False, asked_back=False) != 1:
            return False
        devices = Replica.objects.values_list("devices", flat=True).get(id=replica_id)
        forget_expired(devices)
        owners = [DeviceOwner(device_id=device, replica_id=replica_id) for device in sorted(devices)]
        DeviceOwner.objects.bulk_create(owners, ignore_conflicts=True)
        if DeviceOwner.objects.filter(replica_id=replica_id).count() != len(devices):
            transaction.set_rollback(True)
            return False
    return True


def loan_of(row: Replica) -> Loan | None:
    """What a replica's row says of its loan."""
    return Loan(row.lent_to, row.lent, row.asked_back) if row.lent_to else None


def lending_of(row: Deployment) -> Lending | None:
    """What a deployment's row says of lending; None where its devices are not lent."""
    if not row.lends:
        return None
    return Lending(row.min_serving, Window.parse(row.lend_window) if row.lend_window else None)


def waiting_replicas_devices() -> set[str]:
    """The devices that come back to replicas: nobody else may take them in between."""
    rows = Replica.objects.exclude(lent_to="").values_list("devices", flat=True)
    return {device for devices in rows for device in devices}


def _reservation(job_id: str) -> str:
    return f"{job_id}/{_RESERVED}"


def _in(seconds: float) -> Combinable:
    return Now() + timedelta(seconds=seconds)
