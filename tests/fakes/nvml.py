"""NVML with made-up cards: it answers the calls of `pynvml` that the device code makes, with NVML's own errors."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest


@dataclass
class Card:
    """One card. `error` is an NVML code that every call about it answers with."""

    name: str = "NVIDIA H20"
    memory: int = 97_871 << 20
    used: int = 600 << 20
    uuid: str = ""
    temperature: int = 40
    power_mw: int = 110_500
    load: int = 7
    mig: int = 0
    remapped: tuple[int, int, int, int] = (0, 0, 0, 0)
    uncorrected: int = 0
    slowed: int = 0
    processes: list[tuple[int, int | None]] = field(default_factory=list)
    error: int | None = None
    unsupported: frozenset[str] = frozenset()


class FakeNvml:
    """The library as a whole. `error` lets every call fail; `nvlinks` and `near` are pairs of card numbers."""

    def __init__(self, *cards: Card) -> None:
        self.cards = list(cards)
        for index, card in enumerate(self.cards):
            card.uuid = card.uuid or f"GPU-{index}"
        self.error: int | None = None
        self.nvlinks: set[tuple[int, int]] = set()
        self.near: set[tuple[int, int]] = set()
        self.events: deque[tuple[int, int]] = deque()  # card number, XID
        self.num_inits = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
        """Take the real library's place for one test."""
        for name in dir(self):
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, getattr(self, name))
        return self

    def _card(self, handle: int, call: str) -> Card:
        card = self.cards[handle]
        for error in (self.error, card.error, pynvml.NVML_ERROR_NOT_SUPPORTED if call in card.unsupported else None):
            if error is not None:
                raise pynvml.NVMLError(error)
        return card

    def nvmlInit(self) -> None:
        if self.error is not None:
            raise pynvml.NVMLError(self.error)
        self.num_inits += 1

    def nvmlShutdown(self) -> None:
        self.events.clear()

    def nvmlDeviceGetCount(self) -> int:
        if self.error is not None:
            raise pynvml.NVMLError(self.error)
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        self._card(index, "handle")
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return self._card(handle, "uuid").uuid

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return self._card(handle, "name").name.encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        card = self._card(handle, "memory")
        return SimpleNamespace(total=card.memory, used=card.used)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=self._card(handle, "load").load)

    def nvmlDeviceGetTemperature(self, handle: int, _sensor: int) -> int:
        return self._card(handle, "temperature").temperature

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self._card(handle, "power").power_mw

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:
        return [self._card(handle, "mig").mig] * 2

    def nvmlDeviceGetRemappedRows(self, handle: int) -> tuple[int, int, int, int]:
        return self._card(handle, "remapped").remapped

    def nvmlDeviceGetRetiredPagesPendingStatus(self, handle: int) -> int:
        self._card(handle, "retired")
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetTotalEccErrors(self, handle: int, kind: int, counter: int) -> int:
        assert (kind, counter) == (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        return self._card(handle, "ecc").uncorrected

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:
        return self._card(handle, "slowed").slowed

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        found = self._card(handle, "processes").processes
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in found]

    def nvmlDeviceGetP2PStatus(self, first: int, second: int, _index: int) -> int:
        return pynvml.NVML_P2P_STATUS_OK if (first, second) in self.nvlinks else pynvml.NVML_P2P_STATUS_NOT_SUPPORTED

    def nvmlDeviceGetTopologyCommonAncestor(self, first: int, second: int) -> int:
        return pynvml.NVML_TOPOLOGY_HOSTBRIDGE if (first, second) in self.near else pynvml.NVML_TOPOLOGY_SYSTEM

    def nvmlEventSetCreate(self) -> object:
        return object()

    def nvmlEventSetFree(self, _events: object) -> None:
        return None

    def nvmlDeviceRegisterEvents(self, handle: int, types: int, _events: object) -> None:
        assert types == pynvml.nvmlEventTypeXidCriticalError
        self._card(handle, "events")

    def nvmlEventSetWait_v2(self, _events: object, timeout_ms: int) -> Any:
        assert timeout_ms == 0, "a reading must not wait for events"
        if not self.events:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        card, xid = self.events.popleft()
        return SimpleNamespace(device=card, eventData=xid)
