"""What one check of an adapter found: a verdict, the reason in words and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """`not_enough_evidence` is displayed and never blocks."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass(frozen=True)
class Check:
    """One check's finding. `blocking` says that a failed verdict keeps the adapter from being used.

    `measured` holds plain JSON values, and never text of the training data or of a model's output.
    """

    name: str
    verdict: Verdict
    blocking: bool
    reason: str
    measured: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict.value, "measured": dict(self.measured)}
