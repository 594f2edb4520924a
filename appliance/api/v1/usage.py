"""`/v1/organization/usage/completions`: what the caller's tenant used, in OpenAI's buckets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Query, Router, Schema
from pydantic import Field

from appliance.api.auth import KeyRequest
from appliance.api.v1.usage_query import Range, Values, answer, buckets, storable, sums
from appliance.ledger.buckets import Sums

router = Router(tags=["Usage"])

# How many buckets come in a page where the client names none, and at most.
LIMITS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
# The ledger's columns; what it has no column for is the same for every request.
COLUMNS = {"model": "model", "api_key_id": "key_id"}

GroupBy = Literal["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"]


class UsageQuery(Range):
    """What usage is asked with."""

    bucket_width: Literal["1m", "1h", "1d"] = "1d"
    group_by: Annotated[list[GroupBy], Field(default_factory=list, max_length=20)]
    models: Values
    batch: bool | None = None


class UsageResult(Schema):
    """One group's sums in a bucket. Names are null unless grouped by; all tokens are text."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    input_tokens: int
    input_cached_tokens: int
    input_uncached_tokens: int
    output_tokens: int
    num_model_requests: int
    input_text_tokens: int
    input_cached_text_tokens: int
    output_text_tokens: int
    input_audio_tokens: int = 0
    input_cached_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    input_cached_image_tokens: int = 0
    output_image_tokens: int = 0
    input_cache_write_tokens: int | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None
    api_source: str | None = None


class UsageBucket(Schema):
    """A stretch of time; it has no results where nothing was used."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[UsageResult]


class UsagePage(Schema):
    """A page of buckets, the oldest first."""

    object: Literal["page"] = "page"
    data: list[UsageBucket]
    has_more: bool
    next_page: str | None


@router.get("/completions", response=UsagePage, summary="Tokens and requests over time")
def completions(request: KeyRequest, asked: Query[UsageQuery]) -> dict[str, Any]:
    """What this tenant used, in buckets of time."""
    tenant = request.auth.tenant
    page, end = buckets(asked, asked.bucket_width, *LIMITS[asked.bucket_width])
    columns = [COLUMNS[name] for name in COLUMNS if name in asked.group_by]
    filters = {"model__in": storable(asked.models)} if asked.models else {}
    if asked.batch:
        filters["pk__in"] = []  # there are no batch jobs
    found = sums(tenant, asked, asked.bucket_width, page, columns, **filters)
    same = {"project_id": tenant.id, "batch": False, "api_source": "unlabeled"}
    named = {name: value for name, value in same.items() if name in asked.group_by}
    return answer([(bucket, [_shape(group) | named for group in groups]) for bucket, groups in found], end)


def _shape(group: Sums) -> dict[str, Any]:
    tokens = group.tokens
    fresh = tokens.prompt - tokens.cached
    names = {name: group.names[column] for name, column in COLUMNS.items() if column in group.names}
    return names | {
        "num_model_requests": group.requests, "input_tokens": tokens.prompt, "input_cached_tokens": tokens.cached,
        "input_uncached_tokens": fresh, "input_text_tokens": fresh, "input_cached_text_tokens": tokens.cached,
        "output_tokens": tokens.completion, "output_text_tokens": tokens.completion,
    }  # fmt: skip
