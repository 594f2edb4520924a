"""The learning rate as a pure function of the step: a linear warm-up, then half a cosine down to a tenth."""

from __future__ import annotations

import math

WARM_UP_SHARE = 0.05
MAX_WARM_UP_STEPS = 100  # the paper's fine-tuning of DeepSeek-Coder-V2
FINAL_SHARE = 0.1


def warm_up_steps(steps_total: int) -> int:
    return max(1, min(MAX_WARM_UP_STEPS, math.ceil(steps_total * WARM_UP_SHARE)))


def learning_rate(step: int, steps_total: int, peak: float) -> float:
    """The rate of a step, counted from 0."""
    warm_up = warm_up_steps(steps_total)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps_total - warm_up)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
