"""What npu-smi prints, as values. The formats changed from release to release: rows are known by their shape, not by headers.

The outputs it is tested on lie in tests/inference/devices/npu_smi. What can't be read raises ToolFailed; a single value
that a card does not tell (`NA`, `-`) is None.
"""

import re
from dataclasses import dataclass, field

from inference.devices.errors import ToolFailed
from inference.devices.info import DeviceProcess

MIB = 1 << 20
Chip = tuple[int, int]  # the card's number and the chip's on it

_BUS = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d")
_USED_OF = re.compile(r"(\d+)\s*/\s*(\d+)")
_PROC_MEM = re.compile(r"Process id\s*:\s*(\d+)\s+Process name\s*:\s*(.*?)\s*Process memory\(MB\)\s*:\s*(\d+)")
_LINKED = ("HCCS", "SIO")  # SIO joins the two chips of one card
_PCIE = ("PIX", "PXB", "PHB")


@dataclass(frozen=True)
class ChipRow:
    """One chip out of `npu-smi info`. `number` is the table's own physical id or device id, where it has one."""

    card: int
    chip: int
    number: int | None
    name: str
    health: str
    power_w: float | None
    temperature_c: int | None
    utilisation: float | None
    memory_used_bytes: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Table:
    """`processes` is None where the output has no table of processes at all."""

    chips: list[ChipRow]
    processes: dict[Chip, list[DeviceProcess]] | None


@dataclass(frozen=True)
class Usage:
    """One chip out of `npu-smi info -t usages`."""

    memory_bytes: int | None
    memory_share: float | None
    utilisation: float | None


@dataclass
class _Card:
    number: int
    name: str
    health: str
    readings: list[str] = field(default_factory=list)
    has_chips: bool = False


def parse_table(text: str) -> Table:
    """Read `npu-smi info`. Raises: ToolFailed for a table that is cut off or has no cards."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    if not rows or not lines[-1].startswith("+"):
        raise ToolFailed(f"npu-smi info: its table is cut off or none: {' '.join(text.split())[:200] or 'nothing'}")
    cards: list[_Card] = []
    chips: list[ChipRow] = []
    for cells in rows:
        if len(cells) != 3:
            continue
        if _BUS.fullmatch(cells[1]):
            chips += _chip(cells, cards[-1] if cards else None)
        elif match := re.fullmatch(r"(\d+)\s+(\S*[A-Za-z]\S*)", cells[0]):
            cards.append(_Card(int(match[1]), match[2], cells[1], cells[2].split()))
    if not cards:
        raise ToolFailed("npu-smi info: its table names no card")
    silent = [_silent(card) for card in cards if not card.has_chips]
    return Table(sorted(chips + silent, key=lambda row: (row.card, row.chip)), _processes(rows))


def _chip(cells: list[str], card: _Card | None) -> list[ChipRow]:
    numbers = re.match(r"(\d+)(?:\s+(\d+))?", cells[0])
    if card is None or numbers is None:
        raise ToolFailed(f"npu-smi info: a chip without its card: {cells[0]!r}")
    card.has_chips = True
    memory = [(int(used), int(total)) for used, total in _USED_OF.findall(cells[2]) if int(total)]
    used, total = memory[-1] if memory else (None, None)  # HBM stands last; cards without it have one pair
    load = _number(cells[2].split()[:1])
    temperature = _number(card.readings[1:2])
    row = ChipRow(
        card=card.number,
        chip=int(numbers[1]),
        number=int(numbers[2]) if numbers[2] else None,
        name=card.name,
        health=card.health,
        power_w=_number(card.readings[:1]),
        temperature_c=None if temperature is None else int(temperature),
        utilisation=None if load is None else load / 100,
        memory_used_bytes=None if used is None else used * MIB,
        memory_bytes=None if total is None else total * MIB,
    )
    return [row]


def _silent(card: _Card) -> ChipRow:
    """A card whose second line is missing or unreadable."""
    return ChipRow(card.number, 0, None, card.name, f"{card.health}, without readings", *(None,) * 5)


def _processes(rows: list[list[str]]) -> dict[Chip, list[DeviceProcess]] | None:
    found: dict[Chip, list[DeviceProcess]] = {}
    is_there = any("No running processes" in row[0] for row in rows)
    for cells in rows:
        place = re.fullmatch(r"(\d+)\s+(\d+)", cells[0])
        if len(cells) < 4 or place is None or not cells[1].isdigit():
            is_there = is_there or len(cells) >= 4
            continue
        memory = _number([cells[3]])
        process = DeviceProcess(int(cells[1]), cells[2], None if memory is None else int(memory) * MIB)
        found.setdefault((int(place[1]), int(place[2])), []).append(process)
    return found if found or is_there else None


def parse_mapping(text: str) -> dict[Chip, int]:
    """Read `npu-smi info -m`: the logic id of each chip that computes, which is the number that engines know it by."""
    numbers = {}
    for line in text.splitlines():
        cells = line.split()
        if len(cells) >= 4 and all(cell.isdigit() for cell in cells[:3]):
            numbers[int(cells[0]), int(cells[1])] = int(cells[2])
    return numbers


def parse_links(text: str) -> dict[str, set[tuple[int, int]]]:
    """Read `npu-smi info -t topo`: the pairs of cards with a link, by kind, the fastest first."""
    links: dict[str, set[tuple[int, int]]] = {"hccs": set(), "pcie": set()}
    columns: list[int] = []
    for line in text.splitlines():
        cells = line.split()
        named = [int(match[1]) for cell in cells if (match := re.fullmatch(r"[A-Za-z-]+(\d+)", cell))]
        if len(named) > 1 and not columns:
            columns = named
        elif columns and len(named) == 1 and re.fullmatch(r"[A-Za-z-]+\d+", cells[0]):
            for other, word in zip(columns, cells[1:], strict=False):
                kind = "hccs" if word.startswith(_LINKED) else "pcie" if word in _PCIE else None
                if kind is not None and other != named[0]:
                    links[kind].add((named[0], other))
    return links


def parse_health(text: str) -> str:
    """Read `npu-smi info -t health`: the error code and what it means, "" where it names none."""
    values = [_value(text, name) for name in ("Error Code", "Error Information")]
    return " ".join(value for value in values if value and value.upper() not in {"NA", "N/A", "-"})


def parse_processes(text: str) -> list[DeviceProcess]:
    """Read `npu-smi info -t proc-mem` of one chip."""
    return [DeviceProcess(int(pid), name, int(memory) * MIB) for pid, name, memory in _PROC_MEM.findall(text)]


def parse_usages(text: str) -> Usage:
    """Read `npu-smi info -t usages` of one chip. Some cards have HBM, others DDR memory."""
    memory = _first(text, ("HBM Capacity(MB)", "DDR Capacity(MB)"))
    share = _first(text, ("HBM Usage Rate(%)", "DDR Usage Rate(%)"))
    load = _first(text, ("Aicore Usage Rate(%)",))
    return Usage(
        None if memory is None else int(memory) * MIB,
        None if share is None else share / 100,
        None if load is None else load / 100,
    )


def _first(text: str, names: tuple[str, ...]) -> float | None:
    values = (_number([_value(text, name)]) for name in names)
    return next((value for value in values if value is not None), None)


def _value(text: str, name: str) -> str:
    match = re.search(rf"^\s*{re.escape(name)}\s*:[ \t]*(.*?)\s*$", text, flags=re.MULTILINE)
    return match[1] if match else ""


def _number(cells: list[str]) -> float | None:
    match = re.fullmatch(r"\d+(?:\.\d+)?", cells[0]) if cells else None
    return float(match[0]) if match else None
