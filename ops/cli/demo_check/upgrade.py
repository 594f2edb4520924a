"""Claims about the upgrade and the way back: rows of every step, an untouched version, and no request that failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ops.cli.demo_check.evidence import NORTH, Evidence, manifest_faults

STEPS = ["preflight", "import", "beside", "smoke", "switch", "drain"]
BACK = ["preflight", "files", "beside", "smoke", "switch", "drain"]
ACTS = {
    False: ["upgrade.plan", "upgrade.apply", "upgrade.resume", "bundle.import", "model.switch", "upgrade.done"],
    True: ["upgrade.rollback", "model.switch", "upgrade.done"],
}


def built(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """What the bundle named is what was imported from it later, byte for byte."""
    model = _version(evidence, shown["model"], shown["digest"])
    if not measured["verified"] or model is None:
        yield f"no version {shown['digest'][:12]} of {shown['model']} came in a verified bundle"
        return
    yield from manifest_faults(Path(model["path"]), model["digest"])


def refused(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Both bad bundles were refused for their own fault, and left no plan: each plan there is has its own good digest."""
    if "model.safetensors" not in measured["one_byte"] or not measured["other_keys"]:
        yield f"refused for another reason: {measured}"
    if measured["one_byte"] == measured["other_keys"] or shown["plans"] != 0:
        yield "a bad bundle left a plan, or both were refused alike"
    plans = evidence.all("SELECT id FROM operations_upgrade WHERE name = %s AND NOT rollback", shown["model"])
    if len(plans) != 1:
        yield f"{len(plans)} upgrades of {shown['model']} were planned"


def planned(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The plan's row, from one version to another, beside it."""
    row = _upgrade(evidence, shown["upgrade"])
    if row is None or row["rollback"] or {row["strategy"], measured["strategy"]} != {"beside"}:
        yield f"there is no plan {shown['upgrade']}"
        return
    if (row["digest"], row["before"]) != (shown["digest"], shown["before"]) or row["digest"] == row["before"]:
        yield f"the row says {row['before'][:12]} to {row['digest'][:12]}"
    if measured["state"] != "planned" or not measured["looked_at"]:
        yield "it was not planned after a preflight"


def upgraded(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Killed once and gone on, to the end."""
    yield from _carried_out(measured, shown, evidence, rollback=False)
    tries = evidence.all(
        "SELECT name FROM operations_upgradestep WHERE upgrade_id = %s AND attempts > 1", shown["upgrade"]
    )
    if [row["name"] for row in tries] != ["beside"] or measured["tries"] < 2:
        yield "no step was begun twice, so nothing was killed"


def rolled_back(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Back to the version that the upgrade had replaced, which serves the name since."""
    yield from _carried_out(measured, shown, evidence, rollback=True)
    row = _upgrade(evidence, shown["upgrade"])
    if row is None:
        return
    there = evidence.one(
        "SELECT u.* FROM operations_upgrade u JOIN registry_modelversion m ON m.id = u.from_model_id"
        " WHERE u.name = %s AND NOT u.rollback AND u.state = 'done' AND m.digest = %s AND u.digest = %s",
        row["name"], row["digest"], row["before"],
    )  # fmt: skip
    if there is None:
        yield "it does not lead back where the upgrade came from"
    serving = evidence.all(
        "SELECT m.digest FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id"
        " WHERE d.name = %s AND d.serves", row["name"],
    )  # fmt: skip
    if [found["digest"] for found in serving] != [row["digest"]]:
        yield "another version of the name served last"


def _carried_out(
    measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence, *, rollback: bool
) -> Iterator[str]:
    row = _upgrade(evidence, shown["upgrade"])
    if row is None or (row["state"], row["rollback"], row["digest"]) != ("done", rollback, shown["digest"]):
        yield f"there is no such upgrade that is done: {shown['upgrade']}"
        return
    steps = evidence.all(
        "SELECT name, state FROM operations_upgradestep WHERE upgrade_id = %s ORDER BY index", shown["upgrade"]
    )
    if [(step["name"], step["state"]) for step in steps] != [(name, "done") for name in (BACK if rollback else STEPS)]:
        yield f"its steps are not all done: {steps}"
    yield from _all_answered(measured, shown, evidence, row)
    yield from _lives(shown, evidence, row)
    yield from _audited(evidence, row, rollback)


def _all_answered(
    measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence, upgrade: dict[str, Any]
) -> Iterator[str]:
    rows = evidence.all("SELECT * FROM ledger_ledgerentry WHERE key_id = %s ORDER BY started_at", shown["key"])
    if len(rows) != measured["requests"] or len(rows) < 10 or measured["failed"] != 0:
        yield f"{measured['requests']} requests were sent, the ledger has {len(rows)}"
        return
    bad = [
        r
        for r in rows
        if (r["outcome"], r["http_status"], r["exact"], r["tenant_id"]) != ("completed", 200, True, NORTH)
    ]
    if bad:
        yield f"{len(bad)} requests were not answered whole, {bad[0]['request_id']} for one"
    if sum(row["stream"] for row in rows) != measured["streamed"] or not measured["streamed"]:
        yield "not as many streams as the report says"
    if not rows[0]["started_at"] < upgrade["finished_at"] < rows[-1]["started_at"]:
        yield "the requests were not sent while it went on"
    lives = [str(row["life_id"]) for row in rows]
    if {lives[0], lives[-1]} != {shown["old_life"], shown["new_life"]} or len(set(lives)) != 2:
        yield f"answered by other engines than the report says: {sorted(set(lives))}"
    if not datetime.fromisoformat(shown["began"]) <= rows[0]["started_at"] <= datetime.fromisoformat(shown["ended"]):
        yield "the requests are of another time"


def _lives(shown: dict[str, Any], evidence: Evidence, upgrade: dict[str, Any]) -> Iterator[str]:
    """The old engine ended with the upgrade, the new one began in it."""
    old, new = (
        evidence.one("SELECT * FROM fleet_enginelife WHERE id = %s", shown[k]) for k in ("old_life", "new_life")
    )
    if old is None or new is None or {old["model_name"], new["model_name"]} != {upgrade["name"]}:
        yield "the engines' lives are not on record"
        return
    if not old["started_at"] < upgrade["started_at"] < new["started_at"] < upgrade["finished_at"]:
        yield "the new engine was not started by this upgrade"
    if old["ended_at"] is None or old["ended_at"] > upgrade["finished_at"]:
        yield "the old engine did not end with it"


def _audited(evidence: Evidence, upgrade: dict[str, Any], rollback: bool) -> Iterator[str]:
    told = evidence.all("SELECT action, details FROM audit_auditentry WHERE subject = %s", upgrade["name"])
    ours = [row for row in told if row["details"].get("upgrade") == str(upgrade["id"])]
    known = {row["action"] for row in ours} | {
        row["action"]
        for row in told
        if row["action"] == "bundle.import" and row["details"]["digest"] == upgrade["digest"]
    }
    missing = [action for action in ACTS[rollback] if action not in known]
    if missing:
        yield f"the audit log lacks {', '.join(missing)}"


def _upgrade(evidence: Evidence, upgrade: str) -> dict[str, Any] | None:
    return evidence.one(
        "SELECT u.*, m.digest AS before FROM operations_upgrade u JOIN registry_modelversion m ON m.id = u.from_model_id"
        " WHERE u.id::text = %s", upgrade,
    )  # fmt: skip


def _version(evidence: Evidence, name: str, digest: str) -> dict[str, Any] | None:
    return evidence.one("SELECT * FROM registry_modelversion WHERE name = %s AND digest = %s", name, digest)
