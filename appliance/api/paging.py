"""Lists in pages, as OpenAI's clients turn them: `after` names the last row of the page before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from appliance.api.errors import NotFound
from appliance.training.errors import Refused

Row = TypeVar("Row", bound=Model)
MAX_ID_LENGTH = 200


def one(rows: QuerySet[Row], row_id: str, what: str, param: str) -> Row:
    """The row with this id among those the caller may see.

    Raises: NotFound.
    """
    row = _find(rows, row_id)
    if row is None:
        raise NotFound(what, param)
    return row


def page(
    rows: QuerySet[Row],
    *,
    after: str | None,
    limit: int,
    by: Sequence[str] = ("created_at", "pk"),
    descending: bool = True,
    marks: QuerySet[Row] | None = None,
) -> tuple[list[Row], bool]:
    """One page and whether there is more. `marks` are the rows that `after` may name, where they are more than `rows`.

    Raises: Refused for an `after` that names nothing.
    """
    if after is not None:
        mark = _find(rows if marks is None else marks, after)
        if mark is None:
            raise Refused("after: there is no such id in this list.", "after")
        rows = rows.filter(_beyond(mark, by, "lt" if descending else "gt"))
    found = list(rows.order_by(*(f"-{name}" if descending else name for name in by))[: limit + 1])
    return found[:limit], len(found) > limit


def listing(data: Sequence[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """OpenAI's list object."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more}


def _find(rows: QuerySet[Row], row_id: str) -> Row | None:
    if len(row_id) > MAX_ID_LENGTH or not row_id.isprintable():  # NUL is more than PostgreSQL takes
        return None
    return rows.filter(id=row_id).first()


def _beyond(mark: Model, by: Sequence[str], comparison: str) -> Q:
    """Rows that stand after the mark, compared field by field."""
    beyond, same = Q(), Q()
    for name in by:
        value = getattr(mark, name)
        beyond |= same & Q(**{f"{name}__{comparison}": value})
        same &= Q(**{name: value})
    return beyond
