"""The claim about metrics pages: what they showed is what the rows of that time add up to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ops.cli.demo_check.evidence import Evidence

PAGES = 8  # gateway, batches, beat, console, meter, pool, runner, worker


def shown(measured: dict[str, Any], told: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Tokens by the ledger, replicas by their engines' lives, fine-tunes and audit entries by their rows."""
    if measured["pages"] != PAGES:
        yield f"{measured['pages']} pages instead of {PAGES}"
    began, taken = (datetime.fromtimestamp(told[name], UTC) for name in ("gateway_started_at", "taken_at"))
    booked = evidence.one(
        "SELECT sum(prompt_tokens) AS input, sum(completion_tokens) AS output FROM ledger_ledgerentry"
        " WHERE endpoint IN ('chat', 'completions') AND finished_at BETWEEN %s AND %s",
        began, taken,
    )  # fmt: skip
    said = (measured["input_tokens"], measured["output_tokens"])
    if booked is None or said != (booked["input"], booked["output"]) or min(said) < 1:
        yield f"the gateway showed {said} tokens, the ledger has {booked}"
    lives = evidence.all(
        "SELECT model_name FROM fleet_enginelife WHERE id = ANY(%s::uuid[]) AND started_at < %s"
        " AND (ended_at IS NULL OR ended_at > %s)",
        told["lives"], taken, taken,
    )  # fmt: skip
    if (
        not lives
        or len(lives) != measured["replicas_ready"]
        or {life["model_name"] for life in lives} != {told["model"]}
    ):
        yield f"{measured['replicas_ready']} ready replicas were shown, {len(lives)} engines of them ran"
    jobs = evidence.one(
        "SELECT count(*) AS count FROM training_job WHERE status = 'succeeded' AND finished_at < %s", taken
    )
    if jobs is None or jobs["count"] != measured["fine_tunes_succeeded"]:
        yield f"{measured['fine_tunes_succeeded']} succeeded fine-tunes were shown, the rows say {jobs}"
    entry = evidence.one("SELECT at FROM audit_auditentry WHERE seq = %s", measured["audit_entries"])
    if entry is None or entry["at"] > taken:
        yield f"there was no audit entry {measured['audit_entries']} at that time"
    if measured["worker_restarts"] < 1 or measured["engine_output_tokens"] < 1:
        yield "the killed worker or the engine's tokens were not shown"
