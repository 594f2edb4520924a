"""Long lists, newest first, paged by position (`before`): the last page costs as little as the first one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

M = TypeVar("M", bound=Model)
PAGE_SIZE = 50


@dataclass(frozen=True)
class Part(Generic[M]):
    """One page of a list. `older` is the position of the next one, "" at the end."""

    rows: list[M]
    older: str
    paged: bool


def newest_first(rows: QuerySet[M], before: str, at: str = "created_at", key: str = "pk") -> Part[M]:
    """The rows older than `before` ("time~key"), by the column `at`, rows of one moment by `key`."""
    moment, last_key = _position(before)
    if moment is not None:
        rows = rows.filter(Q(**{f"{at}__lt": moment}) | Q(**{at: moment, f"{key}__lt": last_key}))
    found = list(rows.order_by(f"-{at}", f"-{key}")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    older = _name(shown[-1], at, key) if len(found) > PAGE_SIZE else ""
    return Part(shown, older, moment is not None)


def _name(row: Any, at: str, key: str) -> str:
    return f"{getattr(row, at).isoformat()}~{getattr(row, key)}"


def _position(before: str) -> tuple[datetime | None, str]:
    moment, _, key = before.partition("~")
    try:
        at = parse_datetime(moment)
    except ValueError:  # well formed, but no such day
        return None, ""
    return (at if at is None or timezone.is_aware(at) else None), key
