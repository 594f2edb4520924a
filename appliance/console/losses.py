"""A fine-tune's losses as its events tell them: the curve, the table behind it, and the last one of each job in a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.db.models import OuterRef, Subquery
from django.utils.translation import pgettext

from appliance.console import chart
from appliance.training.models import Job, JobEvent

MOST_POINTS = 300  # more can't be told apart on a screen
TABLE_ROWS = 30
SERIES = ("train_loss", "valid_loss")


@dataclass(frozen=True)
class Step:
    """What is known of one step."""

    step: int
    train_loss: float | None
    valid_loss: float | None


def steps(job: Job) -> list[Step]:
    """Every step with a loss, in order. An attempt that began again from a checkpoint replaces what it did anew."""
    rows = JobEvent.objects.filter(job=job, type="metrics").order_by("seq")
    return merged(rows.values_list("data__step", "data__train_loss", "data__valid_loss"))


def merged(rows: Iterable[tuple[object, object, object]]) -> list[Step]:
    """One entry per step out of events in their order; what is no number is left out."""
    found: dict[int, Step] = {}
    for step, train, valid in rows:
        if not isinstance(step, int):
            continue
        before = found.get(step, Step(step, None, None))
        found[step] = Step(step, _number(train, before.train_loss), _number(valid, before.valid_loss))
    return sorted(found.values(), key=lambda entry: entry.step)


def _number(value: object, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else otherwise


def curve(found: Sequence[Step]) -> chart.Chart:
    """Both losses over the steps."""
    names = {"train_loss": pgettext("loss", "training"), "valid_loss": pgettext("loss", "validation")}
    series = {names[name]: thinned(_points(found, name)) for name in SERIES}
    return chart.curve(series, {names[name]: number for number, name in enumerate(SERIES)})


def _points(found: Sequence[Step], name: str) -> list[tuple[int, float]]:
    return [(entry.step, value) for entry in found if (value := getattr(entry, name)) is not None]


def thinned(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[tuple[int, float]]:
    """At most `most` points: the mean of neighbours, at the last one's step; the first point stays as it is."""
    if len(points) <= most:
        return list(points)
    edges = [1 + index * (len(points) - 1) // (most - 1) for index in range(most)]
    groups = [points[start:end] for start, end in pairwise(edges)]
    return [points[0], *((group[-1][0], sum(value for _, value in group) / len(group)) for group in groups)]


def last_of(jobs: Sequence[Job]) -> Mapping[str, float]:
    """The training loss seen last of each of these jobs that has one."""
    newest = JobEvent.objects.filter(job=OuterRef("pk"), type="metrics", data__has_key="train_loss").order_by("-seq")
    rows = Job.objects.filter(pk__in=[job.pk for job in jobs]).order_by()
    found = rows.annotate(last=Subquery(newest.values("data__train_loss")[:1])).values_list("pk", "last")
    return {pk: float(value) for pk, value in found if isinstance(value, (int, float))}
