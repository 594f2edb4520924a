"""Which source files are worth training on. The rules are those of the DeepSeek-Coder-V2 paper, section 2, plus two plain ones.

A filter is a module with `objection(row) -> str | None`: why the file is dropped, or None. They see source files only, in
this order; the first to object decides. The last word is that of the licence, which only the whole upload tells: see
finetune.data.tally.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from finetune.data.filters import alphabetic, empty, generated, html, json_yaml, lines, xml
from finetune.data.rows import TextRow

FILTERS: dict[str, Callable[[TextRow], str | None]] = {
    "empty": empty.objection,
    "generated": generated.objection,
    "lines": lines.objection,
    "alphabetic": alphabetic.objection,
    "xml": xml.objection,
    "html": html.objection,
    "json_yaml": json_yaml.objection,
}
LICENCE = "licence"


@dataclass(frozen=True)
class Dropped:
    """A file that doesn't become a row, by which filter and why."""

    row: TextRow
    filter: str
    reason: str


def judge(row: TextRow) -> Dropped | None:
    """The first filter's objection, if any."""
    for name, objection in FILTERS.items():
        if reason := objection(row):
            return Dropped(row, name, reason)
    return None


def apply(rows: Iterable[TextRow]) -> tuple[list[TextRow], list[Dropped]]:
    """Rows kept and rows dropped, both in order."""
    judged = [(row, judge(row)) for row in rows]
    return [row for row, dropped in judged if dropped is None], [dropped for _, dropped in judged if dropped]


def counts(num_rows: int, dropped: Counter[tuple[str, str]]) -> dict[str, dict[str, object]]:
    """Per filter: how many files came in, how many it kept, how many it dropped for which reason."""
    table: dict[str, dict[str, object]] = {}
    for name in (*FILTERS, LICENCE):
        reasons = {reason: count for (by, reason), count in sorted(dropped.items()) if by == name}
        table[name] = {"in": num_rows, "kept": num_rows - sum(reasons.values()), "dropped": reasons}
        num_rows -= sum(reasons.values())
    return table
