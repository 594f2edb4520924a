"""What a fine-tune may have of the devices' memory: those of boxes with a worker, less what other engines have of them."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.fleet import boxes
from appliance.fleet.models import Device, DeviceOwner
from finetune.train.estimate import Room
from inference.devices.cpu import is_processors
from inference.devices.info import box_of

USABLE_SHARE = 0.92  # of a card; the rest is the driver's and what lies scattered
THE_MACHINE = "the machine"
HOST_RESERVE_SHARE = 0.10  # of the machine's memory: the system, the database, the gateway


def rooms() -> list[Room]:
    """Every device that fine-tunes may get, and for each box one for all shares of its processors; none where nobody has
    seen them yet.
    """
    return [room for box in ("", *(box.pk for box in boxes.living())) for room in _rooms_on(box)]


def room_of(device_id: str) -> Room | None:
    """The room on a device that this fine-tune holds; a share of the processors may use the whole machine's memory."""
    box = box_of(device_id)
    name = THE_MACHINE if is_processors(device_id.removeprefix(f"{box}/")) else device_id
    return next((room for room in _rooms_on(box, device_id) if room.device == name), None)


def _rooms_on(box: str, own: str = "") -> list[Room]:
    """`own`: the device that the asking fine-tune holds."""
    found = Device.everywhere.filter(box=box or None)
    there = [device for device in found if box_of(device.id) == box]  # not what the pool has through Ray
    shares = [device for device in there if device.kind == "cpu"]
    cards = [_card(device) for device in there if device.kind != "cpu" and device.memory_bytes > 0]
    return [*cards, *([_host(shares, own)] if shares else [])]


def _card(device: Device) -> Room:
    foreign = sum(process.get("memory_bytes") or 0 for process in device.foreign)
    at_most = round(device.memory_bytes * USABLE_SHARE)
    return Room(device.id, max(0, at_most - foreign), at_most)


def _host(shares: Sequence[Device], own: str) -> Room:
    """The machine's memory without the shares that others own; or what is unused of it, where they hold less than theirs."""
    total = sum(share.memory_bytes for share in shares)
    owned = set(DeviceOwner.objects.exclude(device_id=own).values_list("device_id", flat=True))
    others = sum(share.memory_bytes for share in shares if share.id in owned)
    unused = sum(share.memory_bytes - (share.memory_used_bytes or share.memory_bytes) for share in shares)
    reserve = round(total * HOST_RESERVE_SHARE)
    return Room(THE_MACHINE, max(0, max(total - others, unused) - reserve), total - reserve)
