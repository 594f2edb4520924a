"""What a fine-tune may have of the devices' memory: this machine's devices, less what other engines have of them."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.fleet.models import Device, DeviceOwner
from finetune.train.estimate import Room
from inference.devices.cpu import is_processors
from inference.devices.info import box_of

USABLE_SHARE = 0.92  # of a card; the rest is the driver's and what lies scattered
HOST_RESERVE_SHARE = 0.10  # of the machine's memory: the system, the database, the gateway


def rooms(own: str = "") -> list[Room]:
    """Every device of this machine, and one for all shares of its processors; none where nobody has seen them yet.

    `own`: the device that the asking fine-tune holds.
    """
    local = [device for device in Device.objects.all() if not box_of(device.id)]
    shares = [device for device in local if device.kind == "cpu"]
    cards = [_card(device) for device in local if device.kind != "cpu" and device.memory_bytes > 0]
    return [*cards, *([_host(shares, own)] if shares else [])]


def room_of(device_id: str) -> Room | None:
    """The room on a device that this fine-tune holds; a share of the processors may use the whole machine's memory."""
    name = "the machine" if is_processors(device_id) else device_id
    return next((room for room in rooms(device_id) if room.device == name), None)


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
    return Room("the machine", max(0, max(total - others, unused) - reserve), total - reserve)
