"""NVIDIA cards through NVML. A machine without the driver simply has none.

What one card can't report (some have no utilisation or temperature) is left out; a card whose memory can't be read is
listed as unhealthy with the driver's words, so that it shows up instead of vanishing.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pynvml  # type: ignore[import-untyped]  # the wheel carries no types

from inference.devices.errors import DeviceError
from inference.devices.info import DeviceInfo

log = logging.getLogger(__name__)


class NvidiaProbe:
    """Opens NVML for each reading: a driver that was reloaded meanwhile is found again."""

    def __init__(self) -> None:
        self._found_before = False

    def read(self) -> list[DeviceInfo]:
        """The cards; none where there is no driver.

        Raises: DeviceError when the driver listed cards before and fails now: one failed call must not empty the box.
        """
        try:
            cards = _cards()
        except (pynvml.NVMLError, OSError) as error:
            if self._found_before:
                raise DeviceError(f"NVML: {error}") from error
            log.debug("no NVIDIA driver: %s", error)
            return []
        self._found_before = self._found_before or bool(cards)
        return cards


def probe(_cpu_devices: int | None) -> NvidiaProbe:
    return NvidiaProbe()


def _cards() -> list[DeviceInfo]:
    pynvml.nvmlInit()
    try:
        return [_card(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _card(index: int) -> DeviceInfo:
    device_id = f"nvidia:{index}"
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        name = pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError as error:
        return DeviceInfo(device_id, "nvidia", "unknown", 0, healthy=False, reason=f"NVML: {error}")
    utilisation = _if_supported(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    return DeviceInfo(
        id=device_id,
        kind="nvidia",
        name=name.decode() if isinstance(name, bytes) else str(name),
        memory_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        utilisation=None if utilisation is None else utilisation / 100,
        temperature_c=_if_supported(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
    )


def _if_supported(read: Callable[[], Any]) -> int | None:
    try:
        return int(read())
    except pynvml.NVMLError:
        return None
