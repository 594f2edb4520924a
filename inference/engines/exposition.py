"""Reads Prometheus' text format, as much of it as engines' counters need: names, values and a bucket's bound."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inference.engines.errors import MetricsMalformed

_SERIES = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?P<labels>\{.*\})?\s+(?P<value>\S+)(?:\s+-?\d+)?\s*$")
_BOUND = re.compile(r'[{,]\s*le="([^"\\]+)"')  # in another label's value the quotes would be escaped


@dataclass(frozen=True)
class Series:
    """One line: `bound` is that of a histogram's bucket, None for anything else."""

    name: str
    bound: float | None
    value: float


def series(text: str, prefix: str) -> Iterator[Series]:
    """The lines whose names begin with `prefix`. Raises: MetricsMalformed for a value that is no number."""
    for line in text.splitlines():
        match = _SERIES.match(line) if line.startswith(prefix) else None
        if match is None:
            continue
        bound = _BOUND.search(match["labels"] or "")
        try:
            yield Series(match["name"], float(bound[1]) if bound else None, float(match["value"]))
        except ValueError as error:
            raise MetricsMalformed(f"not a metrics line: {line[:200]!r}") from error
