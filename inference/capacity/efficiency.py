"""What of a box's ideal speed an engine reaches: two efficiencies and a time per token, by kind of serving.

Where the figures come from is calibration.py's work; what they are applied to is replica.py's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Engine(StrEnum):
    """Generation and manner of serving, as published measurements differ by it."""

    CURRENT = "current"  # vLLM and SGLang since 2025, one process for prefill and decode: what this appliance runs
    FIRST = "2024"  # the same engines in the year of DeepSeek-V2
    SEPARATE = "separate"  # prefill and decode on cards of their own, tuned for one model and card by its publishers


@dataclass(frozen=True)
class Efficiency:
    """Shares of the ideal speed, and the engine's own time for each sequence of a decode step, in seconds.

    The last one is work of one process a data-parallel rank: scheduling, sampling, sending.
    """

    prefill: float
    decode: float
    sequence_s: float

    def times(self, factor: float) -> Efficiency:
        """Everything faster by a factor."""
        return replace(
            self, prefill=self.prefill * factor, decode=self.decode * factor, sequence_s=self.sequence_s / factor
        )


IDEAL = Efficiency(1.0, 1.0, 0.0)


@dataclass(frozen=True)
class Interval:
    """Where a rate lies in 8 of 10 cases."""

    low: float
    high: float
