"""What would fit where a question's box is too small: another precision on it, or else another card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from inference.capacity.errors import BadQuestion
from inference.capacity.layout import layouts
from inference.capacity.precision import PRECISIONS, available
from inference.capacity.question import Case, Question, resolve
from inference.capacity.replica import Replica
from inference.capacity.speeds import SPEEDS
from inference.catalog.hardware import HARDWARE


def nearest(case: Case) -> Question | None:
    """The first that holds a sequence as asked: precisions from the largest, then cards from the smallest."""
    return next((question for question in _others(case) if _fits(question)), None)


def _others(case: Case) -> Iterator[Question]:
    asked = case.asked
    names = available(case.preset, case.card)
    for name in sorted(names, key=lambda name: -PRECISIONS[name].routed_bytes):
        if PRECISIONS[name].routed_bytes < case.precision.routed_bytes:
            yield replace(asked, precision=name)
    for card in sorted(SPEEDS, key=lambda name: HARDWARE[name].memory_bytes):
        if HARDWARE[card].memory_bytes > case.card.memory_bytes:
            yield replace(asked, hardware=f"{case.cards}x{card}")


def _fits(question: Question) -> bool:
    try:
        case = resolve(question)
        replicas = [Replica(case.work, layout) for layout in layouts(case)]
    except BadQuestion:
        return False
    return any(replica.fits and replica.sequences for replica in replicas)
