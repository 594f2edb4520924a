"""Claims about adapters: their checks, who was answered by them, in which engine, and whose word let them be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ops.cli.demo_check.evidence import NORTH, SOUTH, Evidence
from ops.cli.demo_check.requests import not_billed

CHECKS = {"parity", "effect", "heldout", "extraction", "humaneval"}
FEWEST_KNOWN = 5
FIRST_ANSWER = "Quillhopper"


def checked(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The evaluation's row has the verdict and every check as the report tells them."""
    row = evidence.one(
        "SELECT e.* FROM training_evaluation e JOIN registry_adapter a ON a.id = e.adapter_id WHERE a.name = %s",
        shown["model"],
    )
    if row is None or row["verdict"] != "pass" or measured["verdict"] != "pass":
        yield f"{shown['model']} did not pass its checks"
        return
    verdicts = {check["name"]: check["verdict"] for check in row["checks"]}
    if {name: verdicts.get(name) for name in CHECKS} != shown["verdicts"] or None in shown["verdicts"].values():
        yield f"the checks say {verdicts}"
    if any(check["blocking"] and check["verdict"] == "fail" for check in row["checks"]):
        yield "a check that blocks has failed"


def knows(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Each question was asked of both models, and the first answer holds the fact only where it was trained."""
    for ids, model in ((shown["requests"], shown["model"]), (shown["base_requests"], shown["base"])):
        rows = evidence.all("SELECT model, tenant_id FROM ledger_ledgerentry WHERE request_id = ANY(%s)", ids)
        if (
            len(set(ids)) != measured["facts"]
            or [r for r in rows if (r["model"], r["tenant_id"]) == (model, NORTH)] != rows
        ):
            yield f"{model} was not asked {measured['facts']} times"
        elif len(rows) != len(ids):
            yield f"of {len(ids)} requests to {model} the ledger has {len(rows)}"
    if not FEWEST_KNOWN <= measured["known_by_tuned"] <= measured["facts"] or measured["known_by_base"] > 1:
        yield f"known: {measured['known_by_tuned']} by the tuned model, {measured['known_by_base']} by the base"
    if FIRST_ANSWER in measured["base_says"]:
        yield "the base model knows the first fact"


def kept_apart(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The adapter is its owner's, and nobody else was ever answered by it."""
    yield from not_billed(measured, shown, evidence)
    row = evidence.one("SELECT tenant_id FROM registry_adapter WHERE name = %s", shown["model"])
    if row is None or row["tenant_id"] != shown["owner"] or shown["asked_by"] == shown["owner"]:
        yield f"{shown['model']} is not {shown['owner']}'s, or its owner asked"
    if evidence.all(
        "SELECT 1 FROM ledger_ledgerentry WHERE model = %s AND tenant_id NOT IN (%s, 'system')",
        shown["model"],
        shown["owner"],
    ):
        yield f"somebody else was answered by {shown['model']}"
    if (measured["status"], measured["same_as_unknown"], measured["listed"]) != (404, True, False):
        yield f"told apart from an unknown model: {measured}"


def same_engine(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The engine that answered with the adapter had started before the fine-tune was asked for."""
    rows = evidence.all(
        "SELECT DISTINCT l.pid, l.started_at, j.created_at FROM ledger_ledgerentry e"
        " JOIN fleet_enginelife l ON l.id = e.life_id JOIN registry_adapter a ON a.name = e.model"
        " JOIN training_job j ON j.adapter_id = a.id"
        " WHERE e.model = %s AND e.tenant_id = a.tenant_id",
        shown["model"],
    )
    if not rows or any(row["started_at"] >= row["created_at"] for row in rows):
        yield "the engine that answered had not started before the fine-tune"
    if shown["pid"] not in {row["pid"] for row in rows}:
        yield f"process {shown['pid']} did not answer with {shown['model']}"


def waited(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Asked for by the requester under the policy `approve`; nothing was served before the approval."""
    yield from not_billed(measured, shown, evidence)
    row = _decision(evidence, shown["model"])
    if row is None or (row["job"], row["policy"], row["requester"]) != (shown["job"], "approve", shown["requester"]):
        yield f"{shown['job']} was not asked for by {shown['requester']} under the policy approve"
        return
    early = evidence.all(
        "SELECT 1 FROM ledger_ledgerentry WHERE model = %s AND tenant_id = %s AND started_at < %s",
        shown["model"], SOUTH, row["at"],
    )  # fmt: skip
    if early:
        yield f"{shown['model']} answered before its approval"
    if measured["exit_code"] == 0 or measured["status"] != 404:
        yield "the requester could approve, or it was served"


def approved(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Two different people, and an answer after the second one's word."""
    row = _decision(evidence, shown["model"])
    if row is None or not row["approved"] or row["approver"] != shown["approver"]:
        yield f"{shown['approver']} did not approve {shown['model']}"
        return
    if row["requester"] != shown["requester"] or row["requester"] == row["approver"]:
        yield f"asked for and approved by {row['requester']} and {row['approver']}"
    entry = evidence.ledger(shown["request"])
    if (
        entry is None
        or (entry["model"], entry["tenant_id"]) != (shown["model"], SOUTH)
        or entry["started_at"] < row["at"]
    ):
        yield "the answer after the approval is not in the ledger"
    elif entry["completion_tokens"] != measured["output_tokens"]:
        yield f"the ledger has {entry['completion_tokens']} output tokens"


def _decision(evidence: Evidence, model: str) -> dict[str, Any] | None:
    return evidence.one(
        "SELECT p.approved, p.at, u.username AS approver, r.username AS requester, j.id AS job, j.policy"
        " FROM registry_adapter a JOIN training_approval p ON p.adapter_id = a.id JOIN tenants_user u ON u.id = p.user_id"
        " JOIN training_job j ON j.adapter_id = a.id LEFT JOIN tenants_user r ON r.id = j.requested_by_id WHERE a.name = %s",
        model,
    )
