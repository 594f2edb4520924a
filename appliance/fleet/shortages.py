"""For which of a deployment's engines devices are missing at this moment: the pool's own arithmetic on the rows as they are."""

from __future__ import annotations

from appliance.fleet import leases
from appliance.fleet.models import Deployment, Device
from appliance.fleet.store import all_desired, all_replicas
from inference.devices.info import DeviceInfo, DeviceProcess
from inference.engines import EngineKind
from inference.pool.plan import shortages


def shortages_of(row: Deployment, kind: EngineKind) -> dict[int, str]:
    """By replica, why it gets no devices now; nothing where the pool has not seen the devices yet.

    An engine that is to end still has its devices: those who wait for them are short until it is gone.
    """
    devices = [_seen(device) for device in Device.objects.all()]
    if not devices:
        return {}
    desired = all_desired()
    needs = {one.id: kind.memory_share(one.flags) for one in desired}
    found = shortages(desired, devices, all_replicas(), leases.leased(), needs)
    return {index: reason for (deployment_id, index), reason in found.items() if deployment_id == str(row.pk)}


def _seen(row: Device) -> DeviceInfo:
    return DeviceInfo(
        row.id, row.kind, row.name, row.memory_bytes, row.memory_used_bytes, healthy=row.healthy, reason=row.reason,
        group=row.link_group, foreign=tuple(DeviceProcess(**process) for process in row.foreign),
    )  # fmt: skip
