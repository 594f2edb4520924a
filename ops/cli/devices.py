"""`coderack devices`: what the pool, or a box' worker, last saw of each device, and who has it."""

from __future__ import annotations

from typing import Any

from appliance.env import HOME_BOX
from ops.cli.database import rows
from ops.cli.printing import AsJson, out, show_json, show_rows

_GIB = 1 << 30


def devices(as_json: AsJson = False) -> None:
    """List the devices with memory, load, temperature, power, health and owner."""
    with rows():
        found = device_rows()
    show_json(found) if as_json else show_devices(found)


def device_rows() -> list[dict[str, Any]]:
    """Every device as scripts get it, in the order of their numbers."""
    from appliance.fleet.leases import owners  # noqa: PLC0415 - after Django's setup
    from appliance.fleet.models import Device  # noqa: PLC0415
    from inference.devices.info import box_of, device_order  # noqa: PLC0415

    held = owners()
    return [
        {
            "id": d.id, "box": d.box_id or box_of(d.id) or HOME_BOX, "kind": d.kind, "name": d.name, "healthy": d.healthy,
            "reason": d.reason or None,
            "owner": held.get(d.id), "memory_bytes": d.memory_bytes, "memory_used_bytes": d.memory_used_bytes,
            "utilisation": d.utilisation, "temperature_c": d.temperature_c, "power_w": d.power_w,
            "group": d.link_group or None, "foreign": d.foreign, "seen_at": f"{d.seen_at:%Y-%m-%d %H:%M:%S}Z",
        }
        for d in sorted(Device.everywhere.all(), key=lambda device: device_order(device.id))
    ]  # fmt: skip


def show_devices(found: list[dict[str, Any]]) -> None:
    """A table that fits a narrow terminal, and below it what is to be said of single devices."""
    show_rows([_line(row) for row in found], False, "No devices yet: the pool lists them when it runs.")
    for row in found:
        others = ", ".join(f"{process['name'] or 'process'} {process['pid']}" for process in row["foreign"])
        for told in (row["reason"], f"processes that are not ours: {others}" if others else None):
            if told:
                out.print(f"{row['id']}: {told}", markup=False)


def _line(row: dict[str, Any]) -> dict[str, Any]:
    used = "–" if row["memory_used_bytes"] is None else f"{row['memory_used_bytes'] / _GIB:.0f}"
    return {
        "device": row["id"],
        "name": row["name"],
        "state": "healthy" if row["healthy"] else "unhealthy",
        "owner": row["owner"],
        "GiB": f"{used}/{row['memory_bytes'] / _GIB:.0f}",
        "load": None if row["utilisation"] is None else f"{row['utilisation']:.0%}",
        "°C": None if row["temperature_c"] is None else f"{row['temperature_c']:.0f}",
        "W": None if row["power_w"] is None else f"{row['power_w']:.0f}",
    }
