"""What usage and costs are asked with: a range of time, cut into buckets and turned in pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any

from ninja import Schema
from pydantic import Field

from appliance.ledger.buckets import Bucket, Sums, TooMuch, cut, present_end, summed
from appliance.ledger.models import LedgerEntry
from appliance.tenants.models import Tenant
from appliance.training.errors import Refused

WIDTHS_S = {"1m": 60, "1h": 3600, "1d": 86400}
MAX_TIME = 253_402_300_799  # the end of the year 9999
MAX_VALUES = 200
_CURSOR = "page_"

UnixTime = Annotated[int, Field(ge=0, le=MAX_TIME)]
Values = Annotated[list[str], Field(default_factory=list, max_length=MAX_VALUES)]


class Range(Schema):
    """The part of a query that usage and costs share. `start_time` belongs to the range, `end_time` does not."""

    start_time: UnixTime
    end_time: UnixTime | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    page: Annotated[str, Field(max_length=100)] | None = None
    project_ids: Values
    api_key_ids: Values
    user_ids: Values


def buckets(asked: Range, width: str, default: int, most: int) -> tuple[list[Bucket], int]:
    """This page's buckets and the end of the whole range.

    Raises: Refused for an empty range, a limit over `most`, or a cursor of another query.
    """
    width_s = WIDTHS_S[width]
    if asked.end_time is not None and asked.end_time <= asked.start_time:
        raise Refused("end_time: has to lie after start_time.", "end_time")
    if asked.limit is not None and asked.limit > most:
        raise Refused(f"limit: at most {most} buckets of {width} in one page.", "limit")
    end = min(asked.end_time or MAX_TIME, present_end(width_s))
    start = asked.start_time if asked.page is None else _resumed(asked, asked.page, width_s)
    return cut(start, end, width_s, asked.limit or default), end


def sums(
    tenant: Tenant, asked: Range, width: str, page: Sequence[Bucket], columns: Sequence[str], **filters: Any
) -> list[tuple[Bucket, list[Sums]]]:
    """The caller's own sums; what belongs to nobody or to somebody else is in none of them.

    Raises: Refused when the page holds too much.
    """
    rows = LedgerEntry.objects.filter(tenant_id=tenant.id, **filters)
    if asked.api_key_ids:
        rows = rows.filter(key_id__in=storable(asked.api_key_ids))
    if asked.user_ids or (asked.project_ids and tenant.id not in asked.project_ids):
        rows = rows.none()  # requests are a key's and no person's
    try:
        return summed(rows, page, WIDTHS_S[width], columns)
    except TooMuch as error:
        said = f"limit: {error}. Ask for fewer buckets at once, or group by less."
        raise Refused(said, "limit", error.code) from None


def answer(page: Sequence[tuple[Bucket, list[dict[str, Any]]]], end: int) -> dict[str, Any]:
    """OpenAI's page of buckets."""
    reached = page[-1][0].end if page else end
    more = reached < end
    data = [{"start_time": bucket.start, "end_time": bucket.end, "results": results} for bucket, results in page]
    return {"data": data, "has_more": more, "next_page": _cursor(reached) if more else None}


def storable(values: Sequence[str]) -> list[str]:
    """Without values that no row can have: NUL is more than PostgreSQL takes."""
    return [value for value in values if value.isprintable()]


def _cursor(start: int) -> str:
    return _CURSOR + base64.urlsafe_b64encode(start.to_bytes(8, "big")).decode().rstrip("=")


def _resumed(asked: Range, cursor: str, width_s: int) -> int:
    """Where the page begins that a cursor names."""
    try:
        start = int.from_bytes(base64.urlsafe_b64decode(cursor.removeprefix(_CURSOR) + "="), "big")
    except (binascii.Error, ValueError):
        start = -1
    end = asked.end_time or MAX_TIME
    if not asked.start_time < start < end or start % width_s or cursor != _cursor(start):
        raise Refused("page: not a cursor of this query. Send next_page with the query it came from.", "page")
    return start
