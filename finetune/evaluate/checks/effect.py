"""Does the adapter change what is served at all? An engine can ignore one without an error and serve the base model."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.evaluate.check import Check, Verdict
from finetune.evaluate.errors import ScoresIncomplete
from finetune.evaluate.scored import Logprobs, Scored, differences

NAME = "effect"
MIN_TOKENS = 32
# Nats. Measured on SmolLM2-135M in bf16 on a CPU: two scorings of the base model differ by 0.03 on average where the engine's
# batches did, and not at all where they did not; an adapter that had learned its rows moved the scores by 3.4, one that had
# learned nothing (a single pass at 2e-5) by 0.05.
MIN_MEAN = 0.05
TIMES_NOISE = 2.0
# A single token moved this far is an effect as well: most of an answer may have been likely before.
MIN_LARGEST = 1.0


def decide(
    rows: Sequence[Scored],
    base: Sequence[Logprobs],
    adapter: Sequence[Logprobs],
    base_again: Sequence[Logprobs] = (),
) -> Check:
    """Compare served scores with and without the adapter; `base_again` (of the first rows) tells the noise."""
    try:
        found = differences(rows, base, adapter)
        count = len(base_again)
        noise_values = differences(rows[:count], base[:count], base_again)
    except ScoresIncomplete as error:
        return Check(NAME, Verdict.FAIL, True, f"the scores can't be compared: {error}")
    if len(found) < MIN_TOKENS:
        reason = f"{len(found)} answer tokens are too few to compare, {MIN_TOKENS} are needed"
        return Check(NAME, Verdict.NOT_ENOUGH_EVIDENCE, True, reason, {"tokens": len(found)})
    return _compared(found, noise_values)


def _compared(found: list[float], noise_values: list[float]) -> Check:
    mean, noise = sum(found) / len(found), sum(noise_values) / len(noise_values) if noise_values else 0.0
    needed = max(MIN_MEAN, TIMES_NOISE * noise)
    measured = {"tokens": len(found), "mean_difference": mean, "max_difference": max(found), "needed": needed}
    if noise_values:
        measured["noise"] = noise
    clear_single = max(found) > max(MIN_LARGEST, TIMES_NOISE * max(noise_values, default=0.0))
    if mean > needed or clear_single:
        reason = f"the adapter moves the served log-probabilities by {mean:.4f} on average, {max(found):.2f} at most"
        return Check(NAME, Verdict.PASS, True, reason, measured)
    how = "not at all" if max(found) == 0 else f"by {mean:.4f} on average, no more than noise (needed {needed:.4f})"
    reason = f"the adapter moves the served log-probabilities {how}: the engine ignores it, or it learned nothing"
    return Check(NAME, Verdict.FAIL, True, reason, measured)
