"""Counts what the detectors found of the labelled values, and what they took besides.

A value is found when no letter or digit of it is left. A finding is right when at least half of its signs are labelled; one
that lies wholly in a place that may be taken or left counts neither way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders
from finetune.data.desensitize.spans import Span
from finetune.data.measure.pages import EITHER, Label, Page

FIXED = "fixed formats"
# Which values a rule is for. Rules that are not named here know a maker's mark: they look for fixed formats.
PURPOSES = {
    "password_assignment": "passwords", "password_statement": "passwords", "password_element": "passwords",
    "command_line": "passwords", "secret_assignment": "passwords", "generic-api-key": "passwords",
    "email": "e-mail", "ipv4": "IP", "ipv6": "IP", "phone": "phone", "resident_id": "resident ID",
    "bank_card": "bank card", "company_code": "company code",
    "person_name": "names",
}  # fmt: skip
FIXED_KINDS = ("vendor keys", "Chinese clouds", "JWT", "private keys", "connection strings")
# Class, the values in it, lowest recall and precision that are promised.
CLASSES: tuple[tuple[str, tuple[str, ...], float | None, float | None], ...] = (
    (FIXED, FIXED_KINDS, 0.98, 0.9),
    *((kind, (kind,), None, None) for kind in FIXED_KINDS),
    ("passwords", ("passwords",), 0.8, None),
    ("keys known by name", ("keys known by name",), None, None),
    ("e-mail", ("e-mail",), 0.98, None),
    ("IP", ("IP",), 0.94, None),
    *((kind, (kind,), None, None) for kind in ("phone", "resident ID", "bank card", "company code")),
    ("names", ("names",), 0.8, 0.95),
)


@dataclass(frozen=True)
class Row:
    """One class of values. Precision is that of the rules made for it; None where the class has no rules of its own."""

    name: str
    positives: int
    recall: float
    precision: float | None
    least_recall: float | None
    least_precision: float | None

    @property
    def reached(self) -> bool:
        precise = self.precision is None or self.precision >= (self.least_precision or 0)
        return precise and self.recall >= (self.least_recall or 0)


@dataclass
class Score:
    """Counts over all pages, and what was missed or wrongly taken, for a person to look at."""

    positives: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    mistaken: list[str] = field(default_factory=list)

    def rows(self) -> list[Row]:
        return [self._row(*one) for one in CLASSES]

    def forms(self) -> list[dict[str, str | int | float]]:
        """Recall of each form in a class: one provider's keys, one shape of connection string."""
        return [
            {"class": kind, "form": form, "positives": count, "recall": round(self.found[kind, form] / count, 4)}
            for (kind, form), count in sorted(self.positives.items())
        ]

    def _row(self, name: str, kinds: tuple[str, ...], recall: float | None, precision: float | None) -> Row:
        positives = sum(count for (kind, _), count in self.positives.items() if kind in kinds)
        found = sum(count for (kind, _), count in self.found.items() if kind in kinds)
        taken = self.right[name] + self.wrong[name]
        return Row(
            name, positives, found / positives if positives else 1.0, self.right[name] / taken if taken else None, recall, precision
        )  # fmt: skip


def score(pages: Sequence[Page]) -> Score:
    """Run the detectors over the pages as over one data set, and compare."""
    cleaner, result = Cleaner(Placeholders(b"measure")), Score()
    for _ in cleaner.learn((number, (page.text,)) for number, page in enumerate(pages)):
        pass
    for number, page in enumerate(pages):
        # A page that the cleaner can't clean is not used for training at all: nothing of it is learned.
        spans = (
            [Span(0, len(page.text), "unclean", "SECRET", "")]
            if number in cleaner.unclean
            else cleaner.find(number, page.text)
        )
        count_values(page, spans, result)
        count_findings(page, spans, result)
    return result


def count_values(page: Page, spans: Sequence[Span], result: Score) -> None:
    """Which of the page's values the findings cover."""
    taken = {place for span in spans for place in range(span.start, span.end)}
    for label in page.labels:
        if label.kind == EITHER:
            continue
        result.positives[label.kind, label.form] += 1
        if all(place in taken for place in range(label.start, label.end) if page.text[place].isalnum()):
            result.found[label.kind, label.form] += 1
        else:
            result.missed.append(f"{label.kind}, {label.form}: {_around(page.text, label)}")


def count_findings(page: Page, spans: Sequence[Span], result: Score) -> None:
    """Which of the findings hold a value of the page."""
    valued = {at for label in page.labels if label.kind != EITHER for at in range(label.start, label.end)}
    either = {at for label in page.labels if label.kind == EITHER for at in range(label.start, label.end)}
    for span in spans:
        places = range(span.start, span.end)
        strange = sum(at not in valued and at not in either for at in places)
        purpose = PURPOSES.get(span.rule, FIXED)
        if any(at in valued for at in places) and strange * 2 <= len(places):
            result.right[purpose] += 1
        elif strange:
            result.wrong[purpose] += 1
            result.mistaken.append(f"{span.rule}: {_around(page.text, span)}")


def _around(text: str, place: Label | Span) -> str:
    start, end = max(0, text.rfind("\n", 0, place.start)), text.find("\n", place.end)
    return text[start : end if end >= 0 else None].strip()[:200]
