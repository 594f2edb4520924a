"""Whether an NVIDIA card can be trusted, from NVML: MIG, memory errors, rows that wait to be remapped, and XID events.

XIDs are what the driver reports of a card's faults. Most stand for a fault of the program that used it; those that NVIDIA's
catalog answers with a reset of the card or of the machine count here (docs.nvidia.com/deploy/xid-errors).
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import pynvml  # type: ignore[import-untyped]  # the wheel carries no types

log = logging.getLogger(__name__)
T = TypeVar("T")

FATAL_XIDS = {
    46: "it stopped processing",
    48: "an uncorrectable memory error",
    62: "its microcontroller halted",
    64: "a memory row could not be remapped",
    74: "NVLink error",
    79: "it has fallen off the bus",
    95: "an uncontained memory error",
    119: "its system processor (GSP) does not answer",
    120: "its system processor (GSP) failed",
    140: "an unrecovered memory error",
    143: "it could not be initialised",
}
_MOST_EVENTS = 64  # of one reading
_HOT = 0x40 | 0x80  # HwThermalSlowdown, HwPowerBrakeSlowdown


def if_supported(read: Callable[..., T], *arguments: Any) -> T | None:
    """What a card can't tell is left out."""
    try:
        return read(*arguments)
    except pynvml.NVMLError:
        return None


def fault(handle: Any) -> str:
    """Why the card must not be used; "" when nothing speaks against it."""
    mig = if_supported(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    if mig is not None and mig[0] == 1:
        return "MIG is on: an engine needs the whole card (`nvidia-smi -mig 0`)"
    rows = if_supported(lambda: pynvml.nvmlDeviceGetRemappedRows(handle))
    if rows is not None and rows[3]:
        return "a memory row could not be remapped: replace the card"
    errors = if_supported(
        lambda: pynvml.nvmlDeviceGetTotalEccErrors(
            handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        )
    )
    if errors:
        return f"{errors} uncorrected ECC errors since the driver was loaded: reset the card"
    return ""


def remark(handle: Any) -> str:
    """What is to be known of a card that can be used."""
    rows = if_supported(lambda: pynvml.nvmlDeviceGetRemappedRows(handle))
    retiring = if_supported(lambda: pynvml.nvmlDeviceGetRetiredPagesPendingStatus(handle))
    if (rows is not None and rows[2]) or retiring:
        return "bad memory waits to be put out of use: reset the card when it is free"
    slowed = if_supported(lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    return "slowed down by heat or power" if slowed is not None and slowed & _HOT else ""


class XidWatch:
    """Collects the XIDs of NVML's event queue. One lasts until the card was seen to be reset, or a new pool begins."""

    def __init__(self) -> None:
        self._events: Any = None
        self._fatal: dict[str, str] = {}  # by UUID

    def open(self, handles: dict[str, Any]) -> None:
        """Begin to listen; a card or driver without events is left out."""
        self._events = if_supported(pynvml.nvmlEventSetCreate)
        if self._events is None:
            return
        for uuid, handle in handles.items():
            try:
                pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._events)
            except pynvml.NVMLError as error:
                log.info("no XID events of %s: %s", uuid, error)

    def close(self) -> None:
        """Stop listening; what was heard stays."""
        if self._events is not None:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._events)
        self._events = None

    def listen(self) -> None:
        """Take what is in the queue, without waiting."""
        for _ in range(_MOST_EVENTS if self._events is not None else 0):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError:  # a timeout: nothing more
                return
            uuid, xid = if_supported(pynvml.nvmlDeviceGetUUID, event.device), event.eventData
            log.warning("XID %d of %s", xid, uuid)
            if xid in FATAL_XIDS and uuid is not None:
                self._fatal[text_of(uuid)] = f"XID {xid}: {FATAL_XIDS[xid]}"

    def fatal(self, uuid: str) -> str:
        """The last fatal XID of a card, with what it means; "" for none."""
        return self._fatal.get(uuid, "")

    def forget(self, uuid: str) -> None:
        """The card was reset."""
        self._fatal.pop(uuid, None)


def text_of(value: Any) -> str:
    """NVML's texts are bytes in some releases of its binding."""
    return value.decode() if isinstance(value, bytes) else str(value)
