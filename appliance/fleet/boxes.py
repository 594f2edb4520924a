"""Other boxes that fine-tune for this appliance: one worker each, seen by what it tells every few seconds.

The home box has the gateway, the pool and no row here; a device's id begins with its box' name, unless that is the home
box. All times are the database's, so that it does not matter what the boxes' own clocks say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from appliance.env import HOME_BOX
from appliance.fleet.errors import BoxRefused
from appliance.fleet.inventory import save_inventory
from appliance.fleet.models import Box, Device
from inference.devices.info import DeviceInfo, on_box

REPORT_S = 5.0
SILENT_S = 15.0  # then it gets no more work, and another worker may have its name
FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Abilities:
    """The model versions that a box can train, by id, and what it lacks for others."""

    bases: tuple[str, ...]
    lacks: str = ""


def here() -> str:
    """This machine's name in devices' ids: "" for the home box."""
    return "" if settings.ENV.is_home else str(settings.ENV.box)


def name_of(box: str) -> str:
    """What a box is called where people read it."""
    return box or HOME_BOX


def enter(name: str, worker: str, host: str) -> bool:
    """Become the worker of a box; False while another one was seen there a moment ago.

    Raises: BoxRefused where the pool has a machine of that name through Ray.
    """
    if Device.objects.filter(id__startswith=f"{name}/").exists():
        raise BoxRefused(f"the pool has the machine {name!r} through Ray already: a box is a Ray node or has a worker")
    Box.objects.bulk_create([Box(name=name)], ignore_conflicts=True)
    free = Q(seen_at=None) | Q(seen_at__lt=Now() - timedelta(seconds=SILENT_S))
    return Box.objects.filter(free, name=name).update(worker=worker, host=host[:255], seen_at=Now()) == 1


def report(name: str, worker: str, devices: Iterable[DeviceInfo], abilities: Abilities) -> bool:
    """Say that the box is there, and what it has; False when another worker is its worker now."""
    with transaction.atomic():
        told = {"bases": list(abilities.bases), "lacks": abilities.lacks, "seen_at": Now()}
        if Box.objects.filter(name=name, worker=worker).update(**told) != 1:
            return False
        save_inventory([on_box(device, name) for device in devices], Box(name=name))
    return True


def leave(name: str, worker: str) -> None:
    """The worker ends: nothing more is sent to its box, and its name is free."""
    Box.objects.filter(name=name, worker=worker).update(seen_at=None)


def living() -> list[Box]:
    """The boxes that were seen a moment ago."""
    return list(Box.objects.filter(seen_at__gt=Now() - timedelta(seconds=SILENT_S)))


def forget_gone() -> None:
    """Remove boxes that nobody has seen for a day, with their devices."""
    Box.objects.filter(
        Q(seen_at=None, since__lt=Now() - FORGOTTEN_AFTER) | Q(seen_at__lt=Now() - FORGOTTEN_AFTER)
    ).delete()


def standing() -> Sequence[tuple[Box, bool]]:
    """Every box, and whether it was seen a moment ago."""
    alive = {box.pk for box in living()}
    return [(box, box.pk in alive) for box in Box.objects.all()]
