"""Which of the devices that would do an engine takes.

`pack` keeps groups of linked devices whole, so that large engines still find one. `spread` puts a model's engines into
different groups, the emptiest first, so that they share few links and one fault takes few of them along. An engine over
several devices gets linked ones in either way, where one group has enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from inference.devices.info import DeviceInfo

# devices to choose from in their order, how many, and by group how many the model's other engines have
Strategy = Callable[[Sequence[DeviceInfo], int, Mapping[str, int]], list[DeviceInfo]]

DEFAULT = "pack"


def pack(fitting: Sequence[DeviceInfo], count: int, _siblings: Mapping[str, int]) -> list[DeviceInfo]:
    """Out of the smallest group that has enough; a single device rather without links."""
    enough = [group for group in _islands(fitting, count) if len(group) >= count]
    if not enough:
        return _fewest_groups(fitting, count)
    return min(enough, key=lambda group: (bool(group[0].group), len(group)))[:count]


def spread(fitting: Sequence[DeviceInfo], count: int, siblings: Mapping[str, int]) -> list[DeviceInfo]:
    """Out of the group where the model has fewest devices, of those out of the one with most to choose from."""
    enough = [group for group in _islands(fitting, count) if len(group) >= count]
    if not enough:
        return _fewest_groups(fitting, count)
    chosen = min(enough, key=lambda group: (siblings.get(group[0].group, 0), -len(group), group[0].foreign_bytes))
    emptiest = sorted(chosen, key=lambda device: device.foreign_bytes)[:count]
    return [device for device in chosen if device in emptiest]


STRATEGIES: dict[str, Strategy] = {"pack": pack, "spread": spread}


def _islands(fitting: Sequence[DeviceInfo], count: int) -> list[list[DeviceInfo]]:
    """The groups of linked devices, and for an engine on a single one each device without links."""
    groups = _by_group(fitting)
    alone = [[device] for device in groups.pop("", [])] if count == 1 else []
    groups.pop("", None)
    return [*alone, *groups.values()]


def _fewest_groups(fitting: Sequence[DeviceInfo], count: int) -> list[DeviceInfo]:
    """No group has enough: of devices without links if they suffice, else out of the largest groups."""
    groups = _by_group(fitting)
    if len(groups.get("", ())) >= count:
        return groups[""][:count]
    largest_first = [device for group in sorted(groups.values(), key=len, reverse=True) for device in group]
    chosen = largest_first[:count]
    return [device for device in fitting if device in chosen]


def _by_group(fitting: Sequence[DeviceInfo]) -> dict[str, list[DeviceInfo]]:
    groups: dict[str, list[DeviceInfo]] = {}
    for device in fitting:
        groups.setdefault(device.group, []).append(device)
    return groups
