"""Ascend cards through npu-smi, each chip a device. A machine without the tool simply has none.

A chip's number is its logic id, the one engines are told. Mapping and links are read again when other chips appear; all
else with each reading. Nothing of it has run beside a real card: see docs/limits.md.
"""

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

from inference.devices.errors import DeviceError, ToolFailed
from inference.devices.groups import named_groups
from inference.devices.info import DeviceInfo, DeviceProcess
from inference.devices.npu_smi import (
    Chip,
    ChipRow,
    Table,
    parse_health,
    parse_links,
    parse_mapping,
    parse_processes,
    parse_table,
    parse_usages,
)
from inference.devices.tool import Tool

log = logging.getLogger(__name__)

_PLACES = (Path("/usr/local/sbin/npu-smi"), Path("/usr/local/bin/npu-smi"))
_LIBRARIES = "/usr/local/Ascend/driver/lib64/common:/usr/local/Ascend/driver/lib64/driver"
_DETAIL_S = 10.0  # for all the questions about single chips of one reading together
USABLE = {"OK": "", "Warning": "npu-smi warns"}  # health words of chips that can be used; every other takes one out


class AscendProbe:
    """`is_present` says whether the machine has such cards at all, so that a failing tool is no empty box."""

    def __init__(self, tool: Tool | None, is_present: bool) -> None:
        self._tool = tool
        self._is_present = is_present
        self._known: frozenset[Chip] = frozenset()
        self._numbers: dict[Chip, int] = {}
        self._groups: dict[int, str] = {}

    def read(self) -> list[DeviceInfo]:
        """The chips; none where there is no npu-smi, or no card that it would know.

        Raises: DeviceError when there are cards and npu-smi does not answer, or not in a way that can be read.
        """
        if self._tool is None:
            return []
        try:
            table = parse_table(self._tool.run("info"))
        except ToolFailed as error:
            if self._is_present or self._known:
                raise
            log.debug("no Ascend cards: %s", error)
            return []
        self._learn(self._tool, table.chips)
        deadline = time.monotonic() + _DETAIL_S
        devices = [self._device(self._tool, row, deadline) for row in table.chips]
        processes = self._processes(self._tool, table, deadline)
        named = zip(devices, table.chips, strict=True)
        return [replace(device, processes=tuple(processes.get((row.card, row.chip), ()))) for device, row in named]

    def _learn(self, tool: Tool, chips: list[ChipRow]) -> None:
        """Numbers and links of chips that were not there before."""
        seen = frozenset((row.card, row.chip) for row in chips)
        if seen == self._known:
            return
        mapping, links = _asked(tool, "info", "-m"), _asked(tool, "info", "-t", "topo")
        self._numbers = _by_table(chips) | self._numbers | parse_mapping(mapping)
        if len(set(self._numbers.values())) < len(self._numbers):
            raise DeviceError("npu-smi info -m gives two chips one number")
        self._groups = named_groups(self._numbers.values(), parse_links(links))
        self._known = seen

    def _device(self, tool: Tool, row: ChipRow, deadline: float) -> DeviceInfo:
        number = self._numbers[row.card, row.chip]
        row = _completed(tool, row, deadline)
        told = USABLE.get(row.health)
        reason = told if told is not None else f"npu-smi says {row.health}"
        if reason:
            detail = parse_health(_asked(tool, "info", "-t", "health", *_of(row), deadline=deadline))
            reason = f"{reason}: {detail}" if detail else reason
        healthy = told is not None and row.memory_bytes is not None
        if told is not None and row.memory_bytes is None:
            reason = reason or "npu-smi does not tell its memory"
        return DeviceInfo(
            id=f"ascend:{number}",
            kind="ascend",
            name=row.name if row.name.startswith("Ascend") else f"Ascend {row.name}",
            memory_bytes=row.memory_bytes or 0,
            memory_used_bytes=row.memory_used_bytes,
            utilisation=row.utilisation,
            temperature_c=row.temperature_c,
            healthy=healthy,
            reason=reason,
            power_w=row.power_w,
            group=self._groups.get(number, ""),
        )

    def _processes(self, tool: Tool, table: Table, deadline: float) -> dict[Chip, list[DeviceProcess]]:
        """By chip; asked for each one where the table has none."""
        if table.processes is not None:
            return table.processes
        return {
            (row.card, row.chip): parse_processes(_asked(tool, "info", "-t", "proc-mem", *_of(row), deadline=deadline))
            for row in table.chips
        }


def probe(_cpu_devices: int | None) -> AscendProbe:
    found = shutil.which("npu-smi")
    path = Path(found) if found else next((place for place in _PLACES if place.exists()), None)
    is_present = any(node.name.removeprefix("davinci").isdigit() for node in Path("/dev").glob("davinci*"))
    return AscendProbe(Tool(path, _LIBRARIES) if path else None, is_present)


def _by_table(chips: list[ChipRow]) -> dict[Chip, int]:
    """Numbers where there is no mapping: the table's own ids, or the order of the chips."""
    own = [row.number for row in chips]
    return {
        (row.card, row.chip): place if None in own or row.number is None else row.number
        for place, row in enumerate(chips)
    }


def _completed(tool: Tool, row: ChipRow, deadline: float) -> ChipRow:
    """What the table leaves out, from the chip's own page."""
    if row.memory_bytes is not None and row.utilisation is not None:
        return row
    usage = parse_usages(_asked(tool, "info", "-t", "usages", *_of(row), deadline=deadline))
    total = row.memory_bytes if row.memory_bytes is not None else usage.memory_bytes
    used = row.memory_used_bytes
    if used is None and total is not None and usage.memory_share is not None:
        used = int(total * usage.memory_share)
    load = row.utilisation if row.utilisation is not None else usage.utilisation
    return replace(row, memory_bytes=total, memory_used_bytes=used, utilisation=load)


def _of(row: ChipRow) -> tuple[str, ...]:
    return ("-i", str(row.card), "-c", str(row.chip))


def _asked(tool: Tool, *arguments: str, deadline: float | None = None) -> str:
    """The answer, or "" where there is none in time: it only adds to what is known."""
    left_s = _DETAIL_S if deadline is None else deadline - time.monotonic()
    if left_s <= 0:
        return ""
    try:
        return tool.run(*arguments, timeout_s=left_s)
    except ToolFailed as error:
        log.warning("%s", error)
        return ""
