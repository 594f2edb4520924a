"""`coderack demo` and its checker against the running appliance: it passes, and a report can't be made to lie."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from appliance.env import REPO
from ops.cli.demo_check.claims import faults_of
from ops.cli.demo_check.evidence import Evidence
from tests.system.appliance import Appliance, until

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.timeout(2100)]
WALK_S = 1800
Tamper = Callable[[dict[str, dict[str, Any]]], None]


@pytest.fixture(scope="module")
def report(appliance: Appliance) -> dict[str, Any]:
    """The report of one walk."""
    appliance.wait_ready()
    return walk(appliance)


def walk(appliance: Appliance) -> dict[str, Any]:
    walked = appliance.cli("demo", timeout_s=WALK_S)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert walked.stdout.splitlines()[-1] == f"PASS  {appliance.data_dir / 'demo' / 'report.json'}"
    found: dict[str, Any] = json.loads((appliance.data_dir / "demo" / "report.json").read_text())
    return found


def steps_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in report["steps"]}


def check(appliance: Appliance, report: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "report.json"
    path.write_text(json.dumps(report))
    return appliance.cli("demo-check", str(path))


def test_the_demo_passes_and_its_evidence_stays(appliance: Appliance, report: dict[str, Any]) -> None:
    assert report["verdict"] == "passed"
    assert report["checker"]
    page = (appliance.data_dir / "demo" / "report.html").read_text()
    assert all(step["title"].replace("'", "&#39;") in page for step in report["steps"])
    again = appliance.cli("demo-check")
    assert again.returncode == 0, again.stderr


def test_nothing_of_the_demo_works_afterwards(appliance: Appliance, report: dict[str, Any]) -> None:
    tenants = ["demo-north", "demo-south"]
    assert appliance.sql("SELECT count(*) FROM tenants_tenant WHERE id = ANY(%s)", tenants) == [(2,)]
    assert not appliance.sql("SELECT 1 FROM tenants_tenant WHERE id = ANY(%s) AND is_active", tenants)
    assert not appliance.sql("SELECT 1 FROM tenants_apikey WHERE tenant_id = ANY(%s) AND revoked_at IS NULL", tenants)
    assert appliance.sql("SELECT count(*) FROM training_job WHERE tenant_id = ANY(%s)", tenants) == [(2,)]
    folders = {path.name for path in (appliance.data_dir / "jobs").iterdir()}
    known = {row[0] for row in appliance.sql("SELECT id FROM training_job")}
    assert folders <= known


@pytest.mark.long
def test_a_second_walk_in_a_row_passes_and_leaves_nothing_of_the_first(
    appliance: Appliance, report: dict[str, Any]
) -> None:
    jobs = "SELECT id FROM training_job WHERE tenant_id LIKE 'demo-%%'"
    first = {row[0] for row in appliance.sql(jobs)}
    assert walk(appliance)["verdict"] == "passed"
    second = {row[0] for row in appliance.sql(jobs)}
    assert len(first) == len(second) == 2
    assert not first & second
    assert not [job for job in first if (appliance.data_dir / "jobs" / job).exists()]


def set_measured(step: str, name: str, value: Any) -> Tamper:
    return lambda steps: steps[step]["measured"].update({name: value})


def set_evidence(step: str, name: str, value: Any) -> Tamper:
    return lambda steps: steps[step]["evidence"].update({name: value})


def borrow(step: str, name: str, other: str) -> Tamper:
    """Another step's evidence, which is real and not of this step."""
    return lambda steps: steps[step]["evidence"].update({name: steps[other]["evidence"][name]})


TAMPERINGS: dict[str, tuple[str, Tamper]] = {
    "one more output token": ("stream_a_chat", set_measured("stream_a_chat", "output_tokens", 33)),
    "a lower price": ("stream_a_chat", set_measured("stream_a_chat", "cost_micros", 1)),
    "another currency": ("stream_a_completion", set_measured("stream_a_completion", "currency", "CNY")),
    "a request that never was": ("stream_a_chat", set_evidence("stream_a_chat", "request", "req-made-up")),
    "a request that did not leave": ("leave_a_stream", borrow("leave_a_stream", "request", "stream_a_chat")),
    "a refusal that was served": (
        "keep_the_context_limit",
        borrow("keep_the_context_limit", "request", "stream_a_chat"),
    ),
    "another context limit": ("keep_the_context_limit", set_measured("keep_the_context_limit", "limit_tokens", 1)),
    "a rate of three": ("keep_a_rate", set_measured("keep_a_rate", "answered", 3)),
    "a key without that rate": ("keep_a_rate", borrow("keep_a_rate", "key", "revoke_a_key")),
    "a key that was not revoked early": ("revoke_a_key", set_measured("revoke_a_key", "refused_after_ms", 5000)),
    "another digest of a dataset": (
        "clean_private_data",
        lambda steps: steps["clean_private_data"]["evidence"]["digests"].update(north="0" * 64),
    ),
    "fewer rows": ("clean_private_data", set_measured("clean_private_data", "rows_kept", 5)),
    "a checkpoint that never was": ("kill_the_worker", set_evidence("kill_the_worker", "checkpoint", "ftckpt-x-1")),
    "one attempt only": ("kill_the_worker", set_measured("kill_the_worker", "fences", [1, 1])),
    "a lower loss": ("end_a_fine_tune", set_measured("end_a_fine_tune", "loss_last_quarter", 0.001)),
    "more trained tokens": ("end_a_fine_tune", set_measured("end_a_fine_tune", "trained_tokens", 10**9)),
    "another tenant's adapter": ("end_a_fine_tune", borrow("end_a_fine_tune", "model", "tune_for_south")),
    "a better verdict": (
        "show_the_checks",
        lambda steps: steps["show_the_checks"]["evidence"]["verdicts"].update(parity="not_enough_evidence"),
    ),
    "answers of another model": ("know_the_facts", lambda steps: answers_of_the_base(steps["know_the_facts"])),
    "another engine": ("load_without_a_restart", set_evidence("load_without_a_restart", "pid", 1)),
    "a request fewer under the upgrade": ("upgrade_under_load", set_measured("upgrade_under_load", "requests", 11)),
    "an upgrade that was not killed": ("upgrade_under_load", set_measured("upgrade_under_load", "tries", 1)),
    "the rollback's upgrade": ("upgrade_under_load", borrow("upgrade_under_load", "upgrade", "roll_back_under_load")),
    "a rollback by the load of another": (
        "roll_back_under_load",
        borrow("roll_back_under_load", "key", "upgrade_under_load"),
    ),
    "another version in the bundle": (
        "build_a_signed_bundle",
        set_evidence("build_a_signed_bundle", "digest", "0" * 64),
    ),
    "approved by the requester": ("approve_and_ask", set_evidence("approve_and_ask", "approver", "demo-requester")),
    "an answer before the approval": ("approve_and_ask", borrow("approve_and_ask", "request", "stream_a_completion")),
}


def answers_of_the_base(step: dict[str, Any]) -> None:
    step["evidence"]["requests"] = step["evidence"]["base_requests"]


@pytest.fixture(scope="module")
def evidence(appliance: Appliance, report: dict[str, Any]) -> Iterator[Evidence]:
    """What the checker holds reports against, without its command: that takes a second to start."""
    with psycopg.connect(appliance.env.database_dsn(), autocommit=True) as connection:
        yield Evidence(connection, appliance.env.data_dir)


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_the_checker_finds_a_tampered_report(evidence: Evidence, report: dict[str, Any], tampering: str) -> None:
    step, tamper = TAMPERINGS[tampering]
    forged = copy.deepcopy(report)
    tamper(steps_of(forged))
    assert forged != report
    assert next(iter(faults_of(forged, evidence)), "").startswith(f"{step}: ")


def test_the_checkers_command_tells_what_it_found(appliance: Appliance, report: dict[str, Any], tmp_path: Path) -> None:
    forged = copy.deepcopy(report)
    set_measured("stream_a_chat", "cost_micros", 1)(steps_of(forged))
    told = check(appliance, forged, tmp_path)
    assert told.returncode == 1, told.stdout
    assert told.stderr.startswith("stream_a_chat: "), told.stderr


def test_the_checker_misses_no_step(appliance: Appliance, report: dict[str, Any], tmp_path: Path) -> None:
    for name in steps_of(report):
        forged = copy.deepcopy(report)
        forged["steps"] = [step for step in forged["steps"] if step["name"] != name]
        if name in {"make_tenants", "kill_the_worker", "approve_and_ask"}:  # each takes a second
            told = check(appliance, forged, tmp_path)
            assert told.returncode == 1
            assert name in told.stderr


def test_the_checker_refuses_the_report_of_a_failed_walk(
    appliance: Appliance, report: dict[str, Any], tmp_path: Path
) -> None:
    forged = report | {"verdict": "failed", "failure": {"step": "x", "reason": "y"}}
    assert check(appliance, forged, tmp_path).returncode == 1
    assert check(appliance, {"format": 1, "verdict": "passed", "steps": []}, tmp_path).returncode == 1


def test_the_checker_finds_a_planted_value_in_a_dataset(appliance: Appliance, report: dict[str, Any]) -> None:
    from ops.cli.demo_check.evidence import PLANTED

    folder = Path(appliance.sql("SELECT path FROM training_dataset d JOIN training_storedfile f ON f.id = d.file_id"
                                " WHERE f.tenant_id = 'demo-north' LIMIT 1")[0][0])  # fmt: skip
    leak = folder / "left.txt"
    leak.write_text(f"call {PLANTED[1]} now")
    try:
        told = appliance.cli("demo-check")
    finally:
        leak.unlink()
    assert told.returncode == 1
    assert "left.txt holds a planted value" in told.stderr


def test_the_checker_finds_a_changed_adapter(appliance: Appliance, report: dict[str, Any]) -> None:
    name = steps_of(report)["end_a_fine_tune"]["evidence"]["model"]
    folder = Path(appliance.sql("SELECT path FROM registry_adapter WHERE name = %s", name)[0][0])
    weights = folder / "adapter_model.safetensors"
    original = weights.read_bytes()
    weights.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    try:
        told = appliance.cli("demo-check")
    finally:
        weights.write_bytes(original)
    assert told.returncode == 1
    assert "adapter_model.safetensors was changed" in told.stderr


def test_an_interrupted_demo_cleans_up_after_the_former_and_itself_and_names_the_step(
    appliance: Appliance, report: dict[str, Any]
) -> None:
    former = [row[0] for row in appliance.sql("SELECT id FROM training_job WHERE tenant_id LIKE 'demo-%%'")]
    assert former
    walking = subprocess.Popen(
        [sys.executable, "-m", "ops.cli.main", "demo"], cwd=REPO, env=appliance.environ, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    active = "SELECT 1 FROM tenants_tenant WHERE id LIKE 'demo-%%' AND is_active"
    until(lambda: appliance.sql(active), bool, 120)
    time.sleep(3)
    walking.send_signal(signal.SIGINT)
    _, told = walking.communicate(timeout=60)
    assert walking.returncode == 1
    assert "FAIL" in told
    assert "interrupted" in told
    assert not appliance.sql(active)
    assert not appliance.sql("SELECT 1 FROM tenants_apikey WHERE tenant_id LIKE 'demo-%%' AND revoked_at IS NULL")
    assert not appliance.sql("SELECT 1 FROM training_job WHERE id = ANY(%s)", former)
    assert not [job for job in former if (appliance.data_dir / "jobs" / job).exists()]
    told_last = json.loads((appliance.data_dir / "demo" / "report.json").read_text())
    assert told_last["verdict"] == "failed"
