"""Reading files of published measurements, and how much of a box's ideal time each of them took.

A measurement's ideal time is what physics and perfect overlap leave: 0.3 means that the run took 1/0.3 times as long as that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference.capacity.efficiency import Engine
from inference.capacity.errors import BadMeasurements
from inference.capacity.layout import Layout
from inference.capacity.precision import PRECISIONS
from inference.capacity.replica import Replica
from inference.capacity.shapes import shapes
from inference.capacity.speeds import SPEEDS
from inference.capacity.work import Work
from inference.catalog.hardware import HARDWARE
from inference.catalog.memory import Weights

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class Measurement:
    """One published row; the fields are explained in published.yaml."""

    case: str
    source: str
    model: str
    hardware: str
    precision: str
    engine: str
    input_tokens: float
    output_tokens: float
    input_tps: float | None = None
    output_tps: float | None = None
    note: str = ""
    facts: bool = False
    tensor: int = 1
    data: int = 1
    replicas: int = 1
    experts: bool = False
    requests: int | None = None
    longest: float = 1.0
    max_running: int | None = None
    kv_token_bytes: float | None = None
    hit_rate: float = 0.0

    @property
    def replica(self) -> Replica:
        """One of the replicas that were measured, at its ideal speed."""
        name = self.hardware.partition("x")[2]
        precision, shape, card, speeds = PRECISIONS[self.precision], shapes()[self.model], HARDWARE[name], SPEEDS[name]
        routed = shape.routed_parameters * precision.routed_bytes
        weights = Weights(routed, shape.total_parameters * precision.routed_bytes - routed)
        peak = speeds.eight_bit if precision.eight_bit_arithmetic else speeds.bf16
        work = Work(
            shape,
            weights,
            card,
            speeds,
            peak,
            self.input_tokens,
            self.output_tokens,
            self.hit_rate,
            self.kv_token_bytes,
        )
        return Replica(work, Layout(self.replicas, self.tensor, self.data, expert_parallel=self.experts))

    @property
    def running(self) -> float:
        """Sequences that ran at once on a replica, on the mean of the run.

        As many as the cache holds at mean length and the engine admits; a run that is over before the cache is full drains
        while its longest answers end.
        """
        replica = self.replica
        held = replica.group_tokens / replica.work.mean_context * self.data
        sent = self.requests / self.replicas / self.longest if self.requests else held
        return max(1.0, min(held, sent, self.max_running or held))

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of each second: ideal prefill, ideal decode steps, and sequences' steps that one engine process handled."""
        replica, running = self.replica, self.running
        prefill, _ = replica.prefill_seconds()
        into, out = (self.input_tps or 0.0) / self.replicas, (self.output_tps or 0.0) / self.replicas
        return into * (1 - self.hit_rate) * prefill, out * replica.step(running).seconds / running, out / self.data


@cache
def calibrating() -> tuple[Measurement, ...]:
    """What the efficiencies are fitted to."""
    return load(DIRECTORY / "published.yaml")


@cache
def unseen() -> tuple[Measurement, ...]:
    """What they are tried on."""
    return load(DIRECTORY / "unseen.yaml")


def load(path: Path) -> tuple[Measurement, ...]:
    """Read a file of measurements.

    Raises: BadMeasurements with every fault.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadMeasurements([f"{path.name}: {error}"]) from None
    if not isinstance(content, list) or not content:
        raise BadMeasurements([f"{path.name}: must be a list of measurements"])
    faults = [
        f"{path.name}, entry {number}: {fault}" for number, row in enumerate(content, 1) for fault in _faults(row)
    ]
    if faults:
        raise BadMeasurements(faults)
    return tuple(Measurement(**row) for row in content)


def _faults(row: Any) -> list[str]:
    if not isinstance(row, dict):
        return ["must be a mapping"]
    known = {field.name for field in fields(Measurement)}
    needed = {"case", "source", "model", "hardware", "precision", "engine", "input_tokens", "output_tokens"}
    faults = [f"unknown field {name!r}" for name in row if name not in known]
    faults += [f"{name} is missing" for name in sorted(needed - row.keys())]
    if faults:
        return faults
    number, _, card = str(row["hardware"]).partition("x")
    cards = row.get("tensor", 1) * row.get("data", 1) * row.get("replicas", 1)
    rates = [row.get("input_tps"), row.get("output_tps")]
    checks = (
        (row["model"] in shapes(), f"no shape is known for {row['model']!r}"),
        (row["precision"] in PRECISIONS, f"no precision {row['precision']!r}"),
        (row["engine"] in list(Engine), f"no engine {row['engine']!r}"),
        (card in SPEEDS, f"no speeds are known for {card!r}"),
        (number == str(cards), f"{row['hardware']!r} is not the {cards} cards of its layout"),
        (any(rate is not None for rate in rates), "neither an input nor an output rate"),
        (all(rate is None or rate > 0 for rate in rates), "rates must be above 0"),
    )
    return [fault for holds, fault in checks if not holds]
