"""What operators want served: deployments begun, changed and ended, each with its entry in the audit log.

The pool makes it so; a name stands for one version, and deployments of the name's other versions are to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from appliance.audit.record import Detail, record
from appliance.fleet.errors import DeploymentBusy, PinnedTooFew, SlotRefused
from appliance.fleet.fit import context_of
from appliance.fleet.models import Deployment, Device, EngineLife, Replica
from appliance.fleet.store import desired_of
from appliance.operations.models import Upgrade, UpgradeState
from appliance.registry.models import EngineSlot, ModelVersion
from inference.pool.strategies import DEFAULT

FLAVOURS = {"cpu": "cpu", "nvidia": "cuda", "ascend": "ascend"}  # of engines, by the kind of device that they run on


def deployment_of(
    model: ModelVersion, slot: EngineSlot, flags: tuple[str, ...], max_model_len: int
) -> tuple[Deployment, bool]:
    """The model version's deployment on this slot, and whether it was made or moved to it just now."""
    policy = Deployment.objects.filter(name=model.name).values("lends", "min_serving", "lend_window").first()
    row, created = Deployment.objects.get_or_create(
        model=model,
        defaults={"slot": slot, "flags": list(flags), "max_model_len": max_model_len, **(policy or {})},
    )
    moved = not created and row.slot_id != slot.pk
    if moved:
        _remember_ways(row)
        row.slot = slot
        row.save(update_fields=("slot",))
    return row, created or moved


@dataclass(frozen=True)
class Where:
    """Which devices engines may have: those that are named, none for any, and which of them that are free they take."""

    placement: str = DEFAULT
    pinned: tuple[str, ...] = ()


ANYWHERE = Where()


@transaction.atomic
def serve(
    model: ModelVersion,
    slot: EngineSlot,
    flags: tuple[str, ...],
    replicas: int,
    devices_each: int,
    where: Where = ANYWHERE,
    profile: str = "",
) -> bool:
    """Have a model served so; True when engines that run were started in another way, so that the pool replaces them.

    `profile`: the catalog's name of the one that the flags were taken from; its context holds.
    Raises: DeploymentBusy; PinnedTooFew; BadFlags.
    """
    _refuse_too_few(where.pinned, replicas, devices_each)
    refuse_during_upgrade(model.name)
    _settle(model.name)
    Deployment.objects.filter(name=model.name).exclude(model=model).update(running=False, serves=False, canary_share=0)
    context = context_of(model, flags, profile)
    row, _ = deployment_of(model, slot, flags, context)
    _remember_ways(row)
    row.replicas, row.devices_each, row.flags = replicas, devices_each, list(flags)
    row.max_model_len, row.profile = context, profile
    row.running, row.serves, row.may_pause, row.canary_share = True, True, False, 0
    row.placement, row.pinned = where.placement, list(where.pinned)
    row.save()
    record_serving(row)
    return runs_outdated(row)


def _refuse_too_few(pinned: Sequence[str], replicas: int, devices_each: int) -> None:
    needed = replicas * devices_each
    if pinned and len(pinned) < needed:
        raise PinnedTooFew(
            f"{replicas} replicas of {devices_each} {'device' if devices_each == 1 else 'devices'} need {needed}, and it "
            f"is pinned to {len(pinned)}: {', '.join(pinned)}"
        )


def _settle(name: str) -> None:
    """An upgrade that could not be taken back is over: resuming it must not change what is served from now on."""
    failed = Upgrade.objects.filter(name=name, state=UpgradeState.FAILED)
    failed.update(state=UpgradeState.UNDONE, finished_at=timezone.now())


def record_serving(row: Deployment) -> None:
    """The act's entry: what is to run, of which digest."""
    details: dict[str, Detail] = {
        "digest": row.model.digest, "slot": row.slot.name, "replicas": row.replicas, "devices_each": row.devices_each,
        "flags": row.flags, "context": row.max_model_len, "placement": row.placement, "pinned": row.pinned,
    }  # fmt: skip
    record("model.serve", row.model.name, details=details)


@transaction.atomic
def scale(name: str, replicas: int) -> Deployment | None:
    """Have more or fewer engines serve a name; None when it is not served.

    Raises: DeploymentBusy; PinnedTooFew.
    """
    refuse_during_upgrade(name)
    row = _serving(name)
    if row is not None:
        _refuse_too_few(row.pinned, replicas, row.devices_each)
        row.replicas = replicas
        row.save(update_fields=("replicas",))
        record("model.scale", name, details={"replicas": replicas})
    return row


@transaction.atomic
def restart(name: str, *, may_pause: bool) -> Deployment | None:
    """Have a name's engines started anew, one after the other; None when it is not served.

    `may_pause`: a single engine ends before its successor serves. Failed ones are started at once.
    Raises: DeploymentBusy.
    """
    refuse_during_upgrade(name)
    row = _serving(name)
    if row is not None:
        _remember_ways(row)
        row.restart += 1
        row.may_pause = may_pause
        row.save(update_fields=("restart", "may_pause"))
        Replica.objects.filter(deployment=row, life=None).update(restarts=0, next_start_at=None)
        record("model.restart", name, details={"may_pause": may_pause})
    return row


@transaction.atomic
def use_slot(name: str, slot: EngineSlot) -> Deployment | None:
    """Have a name's engines run in another slot, one after the other; None when it is not served.

    Raises: DeploymentBusy; SlotRefused when its engines don't run on what this machine has.
    """
    refuse_during_upgrade(name)
    row = _serving(name)
    if row is not None:
        refuse_flavour(slot, row.slot.flavour)
        _remember_ways(row)
        before, row.slot = row.slot.name, slot
        row.may_pause = False
        row.save(update_fields=("slot", "may_pause"))
        record("engine.use", name, details={"slot": slot.name, "before": before})
    return row


def newest_slot() -> EngineSlot | None:
    """The slot that engines get where nobody says which: the newest one for this machine's devices."""
    slots = EngineSlot.objects.order_by("-created_at")
    return slots.filter(flavour__in=flavours_here()).first() or slots.first()


def slot_of_name(name: str) -> EngineSlot | None:
    """The slot in which a name's engines go on running: the one they are in, if it is there and for these devices."""
    row = _serving(name)
    if row is None or row.slot.flavour not in (flavours_here() or {row.slot.flavour}) or not row.slot.is_there:
        return newest_slot()
    found: EngineSlot = row.slot
    return found


def flavours_here() -> set[str]:
    """The flavours of engines for the devices that the pool saw; empty where it saw none."""
    kinds = Device.objects.order_by().values_list("kind", flat=True).distinct()
    return {FLAVOURS[kind] for kind in kinds if kind in FLAVOURS}


def refuse_flavour(slot: EngineSlot, before: str = "") -> None:
    """Raises: SlotRefused where its engines don't run on this machine's devices, or on what there was `before`."""
    wanted = flavours_here() or {before or slot.flavour}
    if slot.flavour not in wanted:
        raise SlotRefused(
            f"slot {slot.name} is of flavour {slot.flavour}: engines here need {' or '.join(sorted(wanted))}"
        )


def _remember_ways(row: Deployment) -> None:
    """Before a change: engines from before ways were recorded run in the one wanted until now, so that it reaches them."""
    unknown = EngineLife.objects.filter(replica__deployment=row, ended_at=None, way="")
    unknown.update(way=desired_of(row).way)


def runs_outdated(row: Deployment) -> bool:
    """Whether an engine of it was started in another way than is wanted now, or on devices it is not pinned to."""
    way = desired_of(row).way
    alive = Replica.objects.filter(deployment=row).exclude(life=None)
    if row.pinned and alive.exclude(devices__contained_by=row.pinned).exists():
        return True
    return alive.exclude(life__way__in=("", way)).exists()


def _serving(name: str) -> Deployment | None:
    return Deployment.objects.select_related("model", "slot").filter(name=name, running=True, serves=True).first()


@transaction.atomic
def withdraw(name: str) -> bool:
    """Have a model served no longer; False when it was not.

    Raises: DeploymentBusy.
    """
    refuse_during_upgrade(name)
    changed = 0
    for row in Deployment.objects.select_for_update(of=("self",), no_key=True).filter(name=name, running=True):
        row.running = False
        row.save(update_fields=("running",))
        changed += 1
    if changed:
        record("model.withdraw", name)
    return changed > 0


def lock_name(name: str) -> list[Deployment]:
    """All deployments of a name, which nobody else changes until the transaction ends.

    `no_key`: the pool goes on making replicas of them. Were it to wait with the directory's generation in hand, both would.
    """
    return list(Deployment.objects.select_for_update(of=("self",), no_key=True).filter(name=name).order_by("pk"))


def refuse_during_upgrade(name: str) -> None:
    """Raises: DeploymentBusy while an upgrade of the name runs; none can begin before the transaction ends."""
    lock_name(name)
    if is_upgrading(name):
        raise DeploymentBusy(
            f"an upgrade of {name} is running: `coderack upgrade list` shows it, and `coderack upgrade resume` goes on "
            "with one that was interrupted"
        )


def is_upgrading(name: str) -> bool:
    """Whether an upgrade of the name is being applied, or was interrupted."""
    return Upgrade.objects.filter(name=name, state=UpgradeState.RUNNING).exists()


def version_to_serve(name: str) -> ModelVersion | None:
    """Which version `serve` means by a name: the one that served it last, where none did the newest."""
    served = Deployment.objects.filter(name=name, serves=True).select_related("model").order_by("running", "created_at")
    last = served.last()
    return last.model if last else ModelVersion.objects.filter(name=name).order_by("created_at").last()
