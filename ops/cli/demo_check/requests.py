"""Claims about single requests: what the ledger holds of them, what it costs by the plan's row, and what is not in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.cli.demo_check.evidence import NORTH, SOUTH, Evidence, manifest_faults

TOKENS = {"input_tokens": "prompt_tokens", "cached_tokens": "cached_tokens", "output_tokens": "completion_tokens"}


def tokens(measured: dict[str, Any], row: dict[str, Any] | None, what: str = "the request") -> Iterator[str]:
    """The ledger has the request, with exactly these tokens, and they are not nothing."""
    if row is None:
        yield f"{what} is not in the ledger"
        return
    for said, booked in TOKENS.items():
        if measured[said] != row[booked]:
            yield f"the report says {measured[said]} {said}, the ledger {row[booked]}"
    if row["prompt_tokens"] < 1 or row["completion_tokens"] < 1:
        yield f"{what} made no tokens"


def billed(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """A whole stream, booked exactly, at the prices of its tenant's plan."""
    row = evidence.ledger(shown["request"])
    yield from tokens(measured, row)
    if row is None:
        return
    if (row["outcome"], row["exact"], row["http_status"], row["stream"]) != ("completed", True, 200, True):
        yield f"booked as {row['outcome']}, status {row['http_status']}, exact {row['exact']}, streamed {row['stream']}"
    plan = _plan(evidence, row["tenant_id"])
    if row["tenant_id"] not in {NORTH, SOUTH} or plan is None:
        yield f"booked on {row['tenant_id']}"
        return
    cost = (
        (row["prompt_tokens"] - row["cached_tokens"]) * plan["input_price_micros"]
        + row["cached_tokens"] * plan["cached_price_micros"]
        + row["completion_tokens"] * plan["output_price_micros"]
    )
    if (measured["cost_micros"], measured["currency"]) != ((cost + 500_000) // 1_000_000, plan["currency"]):
        yield f"the plan makes it {(cost + 500_000) // 1_000_000} millionths of a {plan['currency']}"


def _plan(evidence: Evidence, tenant: str) -> dict[str, Any] | None:
    return evidence.one(
        "SELECT p.* FROM tenants_plan p JOIN tenants_tenant t ON t.plan_id = p.id WHERE t.id = %s", tenant
    )


def not_billed(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """A refusal has an id of its own and costs nothing."""
    if not shown["request"] or not 400 <= measured["status"] < 500:
        yield f"no refusal: {measured['status']}, request {shown['request']!r}"
    if evidence.ledger(shown["request"]) is not None:
        yield "the refused request is in the ledger"


def over_the_limit(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The limit that the refusal names is the plan's."""
    yield from not_billed(measured, shown, evidence)
    plan = _plan(evidence, shown["tenant"])
    if plan is None or plan["max_context_tokens"] != measured["limit_tokens"]:
        yield f"the plan's limit is not {measured['limit_tokens']} tokens"
    if (measured["status"], measured["code"]) != (400, "context_length_exceeded"):
        yield f"not the documented error: {measured['status']} {measured['code']}"


def outside_the_plan(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The plan's row leaves the model out."""
    yield from not_billed(measured, shown, evidence)
    plan = _plan(evidence, shown["tenant"])
    if plan is None or plan["allowed_models"] is None or shown["model"] in plan["allowed_models"]:
        yield f"the plan of {shown['tenant']} includes {shown['model']}"
    if (measured["status"], measured["code"]) != (403, "model_not_allowed"):
        yield f"not the documented error: {measured['status']} {measured['code']}"


def left(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """A client that left is booked as such, exactly."""
    row = evidence.ledger(shown["request"])
    yield from tokens(measured, row)
    if row is not None and (row["tenant_id"], row["outcome"], row["exact"]) != (NORTH, "aborted", True):
        yield f"booked on {row['tenant_id']} as {row['outcome']}, exact {row['exact']}"


def served_beside(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """A registered model with fill-in-the-middle, whole on the disk, and the engine's life that served it."""
    model = evidence.one("SELECT * FROM registry_modelversion WHERE name = %s ORDER BY created_at DESC", shown["model"])
    if model is None or not model["fim"]:
        yield f"{shown['model']} is not registered with fill-in-the-middle"
        return
    yield from manifest_faults(Path(model["path"]), model["digest"])
    life = evidence.one("SELECT model_name FROM fleet_enginelife WHERE id = %s", shown["life"])
    if life is None or life["model_name"] != shown["model"]:
        yield f"no engine served {shown['model']} in life {shown['life']}"


def filled(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Two completions of the same prompt: rendered by the gateway, and with the tokens written out."""
    row, literal = evidence.ledger(shown["request"]), evidence.ledger(shown["literal_request"])
    yield from tokens(measured, row)
    if row is None or literal is None or row["request_id"] == literal["request_id"]:
        yield "the two requests are not in the ledger"
    elif row["prompt_tokens"] != literal["prompt_tokens"] or row["model"] != literal["model"]:
        yield "the two requests did not have the same prompt"
    elif "deepseek" not in row["model"]:
        yield f"asked {row['model']}"


def withdrawn(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Its lives are over, and no process of them is left."""
    lives = evidence.all("SELECT * FROM fleet_enginelife WHERE id = ANY(%s::uuid[])", shown["lives"])
    if not lives or len(lives) != len(shown["lives"]):
        yield "no engine's life is named"
    for life in lives:
        if life["model_name"] != shown["model"] or life["ended_at"] is None or _runs(life["pid"], life["pid_started"]):
            yield f"the engine of life {life['id']} has not ended"
    if evidence.all(
        "SELECT 1 FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id WHERE d.running AND m.name = %s",
        shown["model"],
    ):
        yield f"{shown['model']} should still run"


def _runs(pid: int, started: int) -> bool:
    """Whether a process of this id and start time lives on this machine."""
    if os.getpid() == pid:
        return False
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] != "Z"
