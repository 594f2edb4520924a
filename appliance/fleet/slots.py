"""In which slot an engine runs that was started before a deployment moved to another one."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from appliance.fleet.models import Replica
from appliance.fleet.store import desired_of
from appliance.registry.models import EngineSlot


def slots_in_use() -> dict[UUID, EngineSlot]:
    """The slot of each replica's engine, by the replica's id; left out where none runs, or nobody can say."""
    slots = list(EngineSlot.objects.all())
    found = {}
    for row in Replica.objects.exclude(life=None).select_related("deployment__model", "deployment__slot", "life"):
        slot = _slot_of(row, slots)
        if slot is not None:
            found[row.pk] = slot
    return found


def _slot_of(row: Replica, slots: list[EngineSlot]) -> EngineSlot | None:
    """Its life has the way it was started in, which the slot's interpreter is a part of."""
    now: EngineSlot = row.deployment.slot
    way = row.life.way if row.life is not None else ""
    if not way:  # from before that was recorded
        return now
    wanted = desired_of(row.deployment)
    for slot in (now, *slots):
        if replace(wanted, slot_python=slot.python).way == way:
            return slot
    return None
