"""Turns the end of a request into its journal line and the counters. Every request that reached an engine ends here,
once.
"""

from __future__ import annotations

import logging
import time

import msgspec

from inference import failpoints
from inference.gateway import metrics
from inference.gateway.admit import Admitted
from inference.gateway.cells import Buckets, Cells
from inference.gateway.directory import Replica
from inference.gateway.limits.gates import Prices
from inference.gateway.open_table import OpenRequest
from inference.gateway.usage import Usage
from inference.metering.errors import JournalFull
from inference.metering.journal import JournalWriter, UsageRecord

_requests, _tokens = Cells(metrics.REQUESTS).of, Cells(metrics.TOKENS).of
_ttft, _tpot = Buckets(metrics.TTFT).of, Buckets(metrics.TPOT).of
log = logging.getLogger(__name__)


class Attempt(msgspec.Struct):
    """One request as it went to an engine, and what is known of it so far. Times are Unix seconds."""

    request_id: str
    admitted: Admitted
    replica: Replica
    started_at: float = msgspec.field(default_factory=time.time)
    ttft_s: float | None = None
    first_event_at: float | None = None

    @property
    def silent_events(self) -> int:
        """Events of a stream that only tell a chat's roles; every other one has at least one token."""
        return (self.admitted.body.get("n") or 1) if self.admitted.endpoint == "chat" else 0

    def open(self, prices: Prices) -> OpenRequest:
        """What is kept outside this process for as long as it runs."""
        admitted = self.admitted
        return OpenRequest(
            request_id=self.request_id,
            tenant_id=admitted.key.tenant_id,
            key_id=admitted.key.key_id,
            model=admitted.model.name,
            endpoint=admitted.endpoint,
            stream=admitted.stream,
            life_id=self.replica.life_id,
            replica_id=self.replica.replica_id,
            started_at=self.started_at,
            silent_events=self.silent_events,
            prices=(prices.input_micros, prices.cached_micros, prices.output_micros),
        )


def settle(journal: JournalWriter, attempt: Attempt, usage: Usage, outcome: str, http_status: int) -> bool:
    """Write the one record of an ended request; whether the journal's file has it by now, or it waits in memory."""
    admitted = attempt.admitted
    record = UsageRecord(
        request_id=attempt.request_id,
        tenant_id=admitted.key.tenant_id,
        key_id=admitted.key.key_id,
        model=admitted.model.name,
        endpoint=admitted.endpoint,
        stream=admitted.stream,
        life_id=attempt.replica.life_id,
        replica_id=attempt.replica.replica_id,
        started_at=attempt.started_at,
        finished_at=time.time(),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        engine_prompt_tokens=usage.engine_prompt_tokens,
        outcome=outcome,
        http_status=http_status,
        ttft_ms=None if attempt.ttft_s is None else round(attempt.ttft_s * 1000),
        exact=usage.exact,
    )
    written = False
    failpoints.reach("gateway.before_booking")
    try:
        written = journal.append(record)
    except JournalFull:
        log.critical("usage of request %s is lost: the journal's disk takes nothing", record.request_id)
    failpoints.reach("gateway.booked")
    _count(record, admitted.model.base)
    if outcome == "completed" and admitted.stream and admitted.num_sequences == 1:
        _count_pace(record, attempt.first_event_at, admitted.model.base)
    return written


def _count(record: UsageRecord, base: str) -> None:
    # an adapter's own name would make as many labels as there are adapters, and each names a tenant
    _requests(record.endpoint, base, str(record.http_status))(1)
    _tokens(base, "input")(record.prompt_tokens)
    _tokens(base, "output")(record.completion_tokens)
    if record.outcome == "failed" and record.http_status == 200:  # what went out before the failure can't be taken back
        metrics.BROKEN.labels(base).inc()
    if not record.exact:
        metrics.INEXACT.labels(base).inc()
    if record.ttft_ms is not None:
        _ttft(base)(record.ttft_ms / 1000)


def _count_pace(record: UsageRecord, first_event_at: float | None, base: str) -> None:
    """Time per output token, from the first event to the end of a whole stream.

    Not reckoned from `ttft_ms`: that has the wait for a replica too, which lies before `started_at`.
    """
    if first_event_at is not None and record.completion_tokens > 1:
        streamed_s = max(0.0, record.finished_at - first_event_at)
        _tpot(base)(streamed_s / (record.completion_tokens - 1))
