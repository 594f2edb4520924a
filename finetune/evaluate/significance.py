"""The few exact tests that the checks rest on, for small samples. One-sided throughout: the question is "worse?"."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence

ALPHA = 0.05
EXACT_UP_TO = 12  # 4096 sign patterns
DRAWS = 4000
BISECTIONS = 60


def at_least(count: int, trials: int, chance: float) -> float:
    """The probability of `count` or more successes in independent trials."""
    return math.fsum(_binomial(k, trials, chance) for k in range(count, trials + 1))


def sign_test(worse: int, better: int) -> float:
    """McNemar's exact test: how likely so many discordant pairs fall on the worse side by chance."""
    return at_least(worse, worse + better, 0.5)


def upper_bound(count: int, trials: int, alpha: float = ALPHA) -> float:
    """Clopper and Pearson's upper confidence bound of a proportion."""
    if count >= trials:
        return 1.0
    return 1.0 - lower_bound(trials - count, trials, alpha)


def lower_bound(count: int, trials: int, alpha: float = ALPHA) -> float:
    """Clopper and Pearson's lower confidence bound of a proportion."""
    low, high = 0.0, 1.0
    if count <= 0:
        return low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(count, trials, middle) < alpha else (low, middle)
    return low


def sign_flip_test(values: Sequence[float]) -> float:
    """How likely a sum this large or larger is when each value could as well have had the other sign.

    Exact for few values, else from a fixed number of drawn sign patterns, the same at every call.
    """
    seen = math.fsum(values)
    tolerance = 1e-12 * math.fsum(map(abs, values))
    patterns = _patterns(len(values))
    sums = [math.fsum(sign * value for sign, value in zip(signs, values, strict=True)) for signs in patterns]
    reached = sum(total >= seen - tolerance for total in sums)
    # A drawn sample counts the seen pattern itself, so that the chance is never told as nought.
    return reached / len(sums) if len(values) <= EXACT_UP_TO else (reached + 1) / (len(sums) + 1)


def _patterns(count: int) -> Iterable[Sequence[int]]:
    if count <= EXACT_UP_TO:
        return itertools.product((1, -1), repeat=count)
    draw = random.Random(0)  # noqa: S311 - a reproducible sample
    return (draw.choices((1, -1), k=count) for _ in range(DRAWS))


def _binomial(k: int, n: int, chance: float) -> float:
    if chance in (0.0, 1.0):
        return float(k == n * chance)
    logs = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(logs + k * math.log(chance) + (n - k) * math.log1p(-chance))
