"""NVIDIA cards through NVML. A machine without the driver simply has none.

What one card can't report (some have no utilisation or temperature) is left out; a card whose memory can't be read is
listed as unhealthy with the driver's words, so that it shows up instead of vanishing.
"""

import contextlib
import itertools
import logging
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]  # the wheel carries no types

from inference.devices.errors import DeviceError
from inference.devices.groups import named_groups
from inference.devices.info import DeviceInfo, DeviceProcess
from inference.devices.nvidia_health import XidWatch, fault, if_supported, remark, text_of

log = logging.getLogger(__name__)

_DRIVER = Path("/dev/nvidiactl")


class NvidiaProbe:
    """Keeps NVML open between readings, for its events; opens it anew after an error, so that a reloaded driver is found."""

    def __init__(self, is_present: bool = False) -> None:
        """`is_present`: the machine has such cards, so that NVML's failure is not an empty box."""
        self._is_present = is_present
        self._handles: dict[int, Any] = {}
        self._uuids: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._lost: set[int] = set()
        self._xids = XidWatch()
        self._is_open = False

    def read(self) -> list[DeviceInfo]:
        """The cards; none where there is no driver.

        Raises: DeviceError when there are cards and the driver fails: one failed call must not empty the box.
        """
        try:
            if not self._is_open:
                self._open()
            self._xids.listen()
            cards = [self._card(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except (pynvml.NVMLError, OSError) as error:
            self._close()
            is_missing = isinstance(error, pynvml.NVMLError_LibraryNotFound)
            if self._lost or self._handles or (self._is_present and not is_missing):
                raise DeviceError(f"NVML: {error}") from error
            log.debug("no NVIDIA driver: %s", error)
            return []
        if self._lost:  # a reset card has new handles
            self._close()
        return cards

    def _open(self) -> None:
        pynvml.nvmlInit()
        self._is_open = True
        self._handles, self._uuids = {}, {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError):
                self._handles[index] = pynvml.nvmlDeviceGetHandleByIndex(index)
                self._uuids[index] = text_of(pynvml.nvmlDeviceGetUUID(self._handles[index]))
        self._xids.open({uuid: self._handles[index] for index, uuid in self._uuids.items()})
        self._groups = named_groups(self._handles, _links(self._handles))

    def _close(self) -> None:
        self._xids.close()
        if self._is_open:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
        self._is_open = False

    def _card(self, index: int) -> DeviceInfo:
        device_id = f"nvidia:{index}"
        try:
            handle = self._handles[index] if index in self._handles else pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            name = text_of(pynvml.nvmlDeviceGetName(handle))
        except pynvml.NVMLError as error:
            self._lost.add(index)
            return DeviceInfo(device_id, "nvidia", "unknown", 0, healthy=False, reason=f"NVML: {error}")
        uuid = self._uuids.get(index, "")
        if index in self._lost:  # it was gone and is back
            self._lost.discard(index)
            self._xids.forget(uuid)
        utilisation = if_supported(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
        power = if_supported(lambda: int(pynvml.nvmlDeviceGetPowerUsage(handle)))
        reason = self._xids.fatal(uuid) or fault(handle)
        return DeviceInfo(
            id=device_id,
            kind="nvidia",
            name=name,
            memory_bytes=int(memory.total),
            memory_used_bytes=int(memory.used),
            utilisation=None if utilisation is None else utilisation / 100,
            temperature_c=if_supported(
                lambda: int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
            ),
            healthy=not reason,
            reason=reason or remark(handle),
            power_w=None if power is None else power / 1000,
            group=self._groups.get(index, ""),
            processes=_processes(handle),
        )


def probe(_cpu_devices: int | None) -> NvidiaProbe:
    return NvidiaProbe(_DRIVER.exists())


def _links(handles: dict[int, Any]) -> dict[str, set[tuple[int, int]]]:
    """The pairs of cards with NVLink, and those whose way to each other stays within one NUMA node."""
    links: dict[str, set[tuple[int, int]]] = {"nvlink": set(), "pcie": set()}
    for (a, first), (b, second) in itertools.combinations(handles.items(), 2):
        link = if_supported(pynvml.nvmlDeviceGetP2PStatus, first, second, pynvml.NVML_P2P_CAPS_INDEX_NVLINK)
        if link == pynvml.NVML_P2P_STATUS_OK:
            links["nvlink"].add((a, b))
        near = if_supported(pynvml.nvmlDeviceGetTopologyCommonAncestor, first, second)
        if near is not None and near <= pynvml.NVML_TOPOLOGY_NODE:
            links["pcie"].add((a, b))
    return links


def _processes(handle: Any) -> tuple[DeviceProcess, ...]:
    found = if_supported(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    return tuple(DeviceProcess(process.pid, _comm(process.pid), process.usedGpuMemory) for process in found)


def _comm(pid: int) -> str:
    """The process's name; "" for one of another container, which can't be seen from here."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""
