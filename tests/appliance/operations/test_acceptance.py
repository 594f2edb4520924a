"""Acceptance runs end to end: rows, a load over real HTTP, the ledger, the counters, the certificate, the command line.

The gateway is a stand-in that books what it answers as the meter and the pool would; the real one runs in the demo."""

from __future__ import annotations

import fcntl
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.audit.models import AuditEntry
from appliance.fleet.models import Replica
from appliance.ledger.models import LedgerEntry
from appliance.operations import acceptance, acceptance_run
from appliance.operations.models import AcceptanceRun, Verdict
from appliance.tenants.keys import mint
from appliance.tenants.models import ApiKey, Plan, Tenant
from ops.acceptance.errors import BadWorkload, CannotRun
from ops.acceptance.signing import load_public
from ops.acceptance.verify import verify
from ops.acceptance.workload import Target
from tests.appliance.operations.acceptance_box import WORK, Box, box, certificate

__all__ = ["box"]
pytestmark = pytest.mark.usefixtures("db")


def test_a_run_is_measured_booked_signed_and_kept(box: Box) -> None:
    row = box.run()
    assert (row.verdict, row.reasons, row.failed_requests) == (Verdict.MET, [], 0)
    assert row.requests == box.gateway.behaviour.num_requests == LedgerEntry.objects.count()
    facts = verify(Path(row.folder), load_public(box.data_dir / "acceptance/keys/public.pem")).facts
    assert (facts["id"], facts["measured"]["output_tps"]) == (str(row.pk), row.output_tps)
    (life,) = facts["evidence"]["lives"]
    assert life["after"]["prompt_tokens"] - life["before"]["prompt_tokens"] == 40 * row.requests
    assert facts["box"]["devices"] == [
        {"id": "cpu:0", "kind": "cpu", "name": "A CPU", "memory_bytes": 2**33, "used": True}
    ]


def test_a_run_leaves_an_entry_in_the_audit_log_and_no_key_that_works(box: Box) -> None:
    row = box.run()
    entry = AuditEntry.objects.get(action="acceptance.run")
    assert entry.details["certificate"] == row.certificate_digest
    (key,) = ApiKey.objects.filter(tenant_id="system")
    assert key.internal
    assert key.revoked_at is not None
    assert key.expires_at is not None


def test_a_missed_target_is_not_met_and_kept_all_the_same(box: Box) -> None:
    row = box.run(target=Target(5.0, 1e6))
    assert row.verdict == Verdict.NOT_MET
    assert certificate(row)["reasons"] == row.reasons


def test_a_ledger_that_books_other_tokens_makes_it_void(box: Box) -> None:
    box.ledger_says = lambda tokens: tokens - 1
    row = box.run()
    assert row.verdict == Verdict.VOID
    assert any("disagree" in reason for reason in row.reasons)
    assert any("counters rose by" in reason for reason in row.reasons)


def test_tokens_that_no_ledger_books_make_it_void(box: Box) -> None:
    def somebody_else() -> None:
        box.generation_tokens += 1

    box.meanwhile = somebody_else
    row = box.run()
    assert row.verdict == Verdict.VOID
    (reason,) = row.reasons
    assert "counters rose by" in reason


def test_an_engine_that_was_started_anew_makes_it_void(box: Box) -> None:
    box.meanwhile = box.begin_life
    row = box.run()
    assert row.verdict == Verdict.VOID
    assert any("not those that served at the beginning" in reason for reason in row.reasons)


def test_a_cache_that_was_not_declared_makes_it_void(box: Box) -> None:
    box.gateway.behaviour.cached_tokens = 16
    row = box.run()
    assert row.verdict == Verdict.VOID
    assert any("prefix cache" in reason for reason in row.reasons)


def test_failed_requests_are_no_success(box: Box) -> None:
    box.gateway.behaviour.fail_each = 2
    row = box.run()
    assert row.verdict == Verdict.NOT_MET
    assert row.failed_requests > 0


def test_a_second_run_at_once_is_refused(box: Box) -> None:
    root = box.data_dir / "acceptance"
    root.mkdir()
    with (root / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CannotRun, match="another acceptance run"):
            box.run()


def test_what_a_killed_run_left_is_cleared_by_the_next(box: Box) -> None:
    left, _ = mint(Tenant.objects.get(pk="system"), acceptance_run.KEY_NAME, internal=True)
    half = box.data_dir / "acceptance" / f".new-{uuid.uuid4()}"
    half.mkdir(parents=True)
    box.run()
    assert not half.exists()
    assert ApiKey.objects.get(pk=left.pk).revoked_at is not None


def test_a_run_whose_books_fail_keeps_nothing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fresh: Path) -> Path:
        raise OSError(28, "No space left on device", str(fresh))

    monkeypatch.setattr("ops.acceptance.folder.publish", full)
    with pytest.raises(OSError, match="No space"):
        box.run()
    assert not AcceptanceRun.objects.exists()
    assert not list((box.data_dir / "acceptance").glob(".new-*"))
    assert not AuditEntry.objects.filter(action="acceptance.run").exists()


def test_engines_that_others_use_are_not_measured(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.running = 1
    monkeypatch.setattr(acceptance_run, "IDLE_S", 1.0)
    with pytest.raises(CannotRun, match="not idle"):
        box.run()
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "absent"}, "no model 'absent' is served; there are: tiny"),
        ({"concurrency": 9}, "the engines run 8"),
        ({"input_tokens": 250}, "256 are served"),
        ({"duration_s": 0.1}, "a window of 0.1 s"),
    ],
)
def test_what_can_not_be_run_is_refused_before_anything_is_asked(box: Box, change: dict[str, Any], told: str) -> None:
    with pytest.raises((CannotRun, BadWorkload)) as refused:
        box.run(replace(WORK, **change))
    assert told in str(refused.value)
    assert box.gateway.behaviour.num_requests == 0


def test_a_replica_that_is_not_ready_refuses_a_run(box: Box) -> None:
    Replica.objects.update(state="loading")
    with pytest.raises(CannotRun, match="0 of 1 replicas of tiny are ready"):
        box.run()


def test_a_plan_without_the_model_refuses_a_run(box: Box) -> None:
    Plan.objects.update(allowed_models=["other"])
    with pytest.raises(CannotRun, match="leaves tiny out"):
        box.run()


def test_a_file_outside_the_certificates_is_never_given_out(box: Box) -> None:
    row = box.run()
    assert acceptance.certificate_file(row, "certificate.html").is_file()
    for name in ("../keys/signing.pem", "lock", "absent.json"):
        with pytest.raises(FileNotFoundError):
            acceptance.certificate_file(row, name)
    elsewhere = box.data_dir / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "certificate.json").write_text("{}")
    row.folder = str(elsewhere)
    with pytest.raises(FileNotFoundError):
        acceptance.certificate_file(row, "certificate.json")
