"""Before a run begins: how much disk and time it takes, and whether memory and disk suffice, with the arithmetic in words.

Pure functions of figures that the control plane gathers. Memory by part is `memory`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from finetune.train.checkpoints import KEPT
from finetune.train.memory import ADAMW_BYTES, FP32, Memory
from finetune.train.shape import Shape

GB = 1_000_000_000
# Bytes of a prepared row for each token: the usual ones of code and prose, and the ends of the interval.
BYTES_PER_TOKEN = 3.5
FEWEST_BYTES_PER_TOKEN, MOST_BYTES_PER_TOKEN = 2.0, 5.0
# Where no former run tells: operations a second. For each thread of a CPU, and for a card. A rough guess on purpose.
GUESSED_FLOPS = {"cpu": (5e9, 150e9), "cuda": (2e13, 4e14)}
FLOPS_PER_WEIGHT = 4  # of a token: forward, and backward through frozen weights
SPREAD = (0.8, 1.25)  # around what former runs reached
LOADING_S = (5, 120)


@dataclass(frozen=True)
class Room:
    """A device's memory: what a run may have now, and what it could have at most, were nothing else on it."""

    device: str
    available: int
    at_most: int


@dataclass(frozen=True)
class Disk:
    """Bytes that a run adds to the data directory, by part."""

    dataset: int
    checkpoints: int
    adapter: int
    merged: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Duration:
    """Of the training alone, without the checks after it. `measured`: whether former runs told the rate."""

    tokens: int
    epochs: int
    tokens_per_s: tuple[float, float]
    seconds: tuple[int, int]
    measured: bool


def disk_of(trained_parameters: int, dataset_bytes: int, merged_bytes: int) -> Disk:
    """What a run writes: one checkpoint more than are kept while the next one is written."""
    return Disk(
        dataset=dataset_bytes,
        checkpoints=(KEPT + 1) * trained_parameters * (FP32 + ADAMW_BYTES),
        adapter=trained_parameters * FP32,
        merged=merged_bytes,
    )


def duration_of(
    data_bytes: int, epochs: int, shape: Shape | None, kind: str, threads: int | None, former: Sequence[float]
) -> Duration | None:
    """How long a run takes, from what former runs of this base on such a device reached, else from its operations.

    Units: `former`: tokens a second of each run. None where neither is known.
    """
    if former:
        rate = (min(former) * SPREAD[0], max(former) * SPREAD[1])
    elif shape is not None:
        low, high = GUESSED_FLOPS[kind]
        each = shape.active_parameters * FLOPS_PER_WEIGHT / (threads or 1)
        rate = (low / each, high / each)
    else:
        return None
    fewest, most = data_bytes / MOST_BYTES_PER_TOKEN, data_bytes / FEWEST_BYTES_PER_TOKEN
    seconds = (
        round(epochs * fewest / rate[1]) + LOADING_S[0],
        round(epochs * most / rate[0]) + LOADING_S[1],
    )
    tokens = round(data_bytes / BYTES_PER_TOKEN)
    return Duration(tokens, epochs, (round(rate[0], 1), round(rate[1], 1)), seconds, bool(former))


def rate_of(steps: Sequence[float]) -> float | None:
    """A run's tokens a second out of its steps'; the first one, in which kernels are made, does not count."""
    return median(steps[1:] or steps) if steps else None


def longest_tokens(row_bytes: int, max_length: int) -> int:
    """How many tokens a row of so many bytes has at most, after it was cut."""
    return min(max_length, max(1, round(row_bytes / FEWEST_BYTES_PER_TOKEN)))


def too_little_memory(need: Memory, room: Room) -> str | None:
    """Why a run can't have its memory on this device now; None when it can."""
    if need.total <= room.available:
        return None
    return f"{sum_of(need)}, and {room.device} has {gb(room.available)} for it"


def never_fits(need: Memory, rooms: Sequence[Room]) -> str | None:
    """Why a run fits none of the devices, were nothing else on them, and what to change; None when it may fit one.

    Of devices that nobody has seen, nothing is known.
    """
    best = max(rooms, key=lambda room: room.at_most, default=None)
    if best is None or need.total <= best.at_most:
        return None
    change = "shorter rows or a smaller batch_size" if need.fixed <= best.at_most else "a smaller base"
    return (
        f"it can't fit any device here: {sum_of(need)}, and {best.device}, the largest, has {gb(best.at_most)} for a "
        f"fine-tune. Use {change}, or a device with more memory"
    )


def too_little_disk(need: Disk, free: int, reserve: int) -> str | None:
    """Why a run can't have its disk now; None when it can."""
    if need.total + reserve <= free:
        return None
    parts = ", ".join(f"{gb(size)} {name}" for name, size in asdict(need).items() if size)
    return (
        f"it needs {gb(need.total)} ({parts}) beside the {gb(reserve)} that stay free, and the data directory has "
        f"{gb(free)} left: free {gb(need.total + reserve - free)}"
    )


def sum_of(need: Memory) -> str:
    """The arithmetic of memory."""
    parts = " + ".join(f"{gb(size)} {name}" for name, size in asdict(need).items())
    return f"{parts} = {gb(need.total)}"


def gb(size: float) -> str:
    """Bytes for people; small ones in MB."""
    return f"{size / GB:.1f} GB" if size >= GB / 10 else f"{size / 1e6:.1f} MB"
