"""The device an attempt works on: leased while it is needed, and what a process of the engine slot has to be told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.fleet import boxes, leases
from appliance.fleet.models import Device
from appliance.training import lease
from appliance.training.heartbeat import Heartbeat
from inference.devices.cpu import split_cores
from inference.devices.info import box_of

MIN_CPU_THREADS = 2  # where there are as many: an idle engine's core would be left idle


class NoDevice(Exception):
    """Every device has an owner; later one may be free."""

    code = "no_device"
    permanent = False


@dataclass(frozen=True)
class Leased:
    """A device as the trainer knows it: torch's kind, the threads it may use, what else its environment needs."""

    id: str
    kind: str
    threads: int | None
    environment: dict[str, str]


@contextmanager
def a_device(job_id: str, fence: int, heart: Heartbeat) -> Iterator[Leased]:
    """Hold a device; the heartbeat renews the lease.

    Raises: NoDevice.
    """
    owner = lease.owner(job_id, fence)
    device_id = leases.lease_device(owner, lease.TTL_S, boxes.here())
    if device_id is None:
        raise NoDevice("every device has an owner")
    heart.holds_device = True
    try:
        yield _describe(device_id)
    finally:
        heart.holds_device = False
        leases.release(owner)


def _describe(device_id: str) -> Leased:
    kind, _, number = device_id.rpartition("/")[2].partition(":")
    if kind != "cpu":
        return Leased(device_id, "cuda", None, {"CUDA_VISIBLE_DEVICES": number, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    cores = sorted(os.sched_getaffinity(0))
    share = split_cores(cores, max(1, Device.everywhere.filter(kind="cpu", box=box_of(device_id) or None).count()))[0]
    return Leased(device_id, "cpu", max(len(share), min(MIN_CPU_THREADS, len(cores))), {"CUDA_VISIBLE_DEVICES": ""})
