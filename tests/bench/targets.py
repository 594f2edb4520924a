"""What the gateway is meant to reach, and whether it did. Nothing fails because of it."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.loads import Figures

NEAR_CEILING = 0.85  # of the harness' own rate: above it a contender's rate says nothing, its CPU per event does

Rounds = dict[str, list[Figures]]  # by contender; the same number of rounds each


@dataclass(frozen=True)
class Target:
    """A bound on a figure of ours, or on its ratio to another contender's in the same round, or on what it adds to that."""

    figure: str
    bound: float
    at_most: bool = True
    against: str | None = None
    adds: bool = False

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        if self.adds:
            return f"{self.figure}, added to {self.against} {sign} {self.bound:g}"
        return f"{self.figure} {sign} {self.bound:g}" + (f" x {self.against}" if self.against else "")


@dataclass(frozen=True)
class Verdict:
    """A target, what was found (None: it could not be measured), and how it was judged where that differs."""

    target: Target
    found: float | None
    how: str = ""

    @property
    def reached(self) -> bool | None:
        if self.found is None:
            return None
        return self.found <= self.target.bound if self.target.at_most else self.found >= self.target.bound


def _targets() -> tuple[Target, ...]:
    router, nginx = "vllm-router", "nginx"
    rates = [
        Target(f"unpaced {num}: events/s", bound, at_most=False, against=against)
        for num in (64, 256)
        for against, bound in ((router, 1.1), (nginx, 0.75))
    ]
    paces = [
        target
        for load in ("spread", "together")
        for target in (
            Target(f"{load}: CPU s per 1M events", 0.95, against=router),
            Target(f"{load}: CPU s per 1M events", 1.2, against=nginx),
            Target(f"{load}: event delay p99", 2, against="direct", adds=True),
            Target(f"{load}: first event p99", 5),
        )
    ]
    return (
        *rates,
        *paces,
        Target("fast: in time, %", 99, at_most=False),
        Target("unary: CPU ms per request", 4, against=nginx),
        Target("unary: CPU ms per request", 2.5, against=nginx),
        Target("2,000 slow streams: MB", 300),
        Target("never read: MB more", 16),
        *(Target(f"left {one}: until the engine stopped, longest", 100) for one in ("stream", "unary")),
        *(Target(f"left {one}: engine stopped, % of clients", 100, at_most=False) for one in ("stream", "unary")),
        Target("two workers: CPU per event, of one worker's", 1.1),
        Target("two workers: the lesser one's share of the streams, %", 40, at_most=False),
    )


TARGETS = _targets()


def judge(rounds: Rounds) -> list[Verdict]:
    """Every target against the medians of what was measured."""
    return [_judge(target, rounds) for target in TARGETS]


def _judge(target: Target, rounds: Rounds) -> Verdict:
    if target.against is None:
        return Verdict(target, median(rounds, "ours", target.figure))
    if target.adds:
        return Verdict(target, _compare(rounds, "ours", target.against, target.figure, operator.sub))
    ceiling = median(rounds, "direct", target.figure) if target.figure.endswith("events/s") else None
    rates = [median(rounds, name, target.figure) for name in ("ours", target.against)]
    if ceiling and any(rate and rate > NEAR_CEILING * ceiling for rate in rates):
        cost = target.figure.replace("events/s", "CPU s per 1M events")
        return Verdict(
            target, _compare(rounds, target.against, "ours", cost), "by CPU per event: the harness was the limit"
        )
    return Verdict(target, _compare(rounds, "ours", target.against, target.figure))


def _compare(
    rounds: Rounds, name: str, against: str, figure: str, by: Callable[[float, float], float] = operator.truediv
) -> float | None:
    """The median over the rounds of one contender's figure set against another's."""
    pairs = zip(rounds.get(name, []), rounds.get(against, []), strict=False)
    found = [by(one[figure], other[figure]) for one, other in pairs if one.get(figure) and other.get(figure)]
    return statistics.median(found) if found else None


def median(rounds: Rounds, name: str, figure: str) -> float | None:
    """A contender's figure over all rounds."""
    values = [figures[figure] for figures in rounds.get(name, []) if figure in figures]
    return statistics.median(values) if values else None
