"""`coderack job` and `coderack adapter`: what they show, move and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from appliance.first_rows import ensure_base, register_model
from appliance.fleet import boxes, leases
from appliance.fleet.boxes import Abilities
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, EngineSlot, MergedModel, ModelVersion
from appliance.tenants.keys import mint
from appliance.tenants.models import Membership, Tenant, User
from appliance.training.models import Approval, Checkpoint, Dataset, Evaluation, Job, JobEvent, StoredFile
from inference.devices.info import DeviceInfo
from ops.cli.main import app
from ops.cli.printing import Exit
from ops.cli.status import box_rows
from tests.appliance.training.plans import PLAN

pytestmark = pytest.mark.usefixtures("job")
NAME = "ft:demo:acme:facts:0a1b2c3d"


@pytest.fixture
def job(db: None) -> Job:
    """A fine-tune that kim asked for, whose adapter waits; lee is the tenant's other owner."""
    tenant = Tenant.objects.create(id="acme", name="Acme", plan=ensure_base(), adapter_policy="approve")
    kim, lee = (User.objects.create(username=name) for name in ("kim", "lee"))
    for user in (kim, lee):
        Membership.objects.create(user=user, tenant=tenant, role=Membership.Role.OWNER)
    key, _ = mint(tenant, "key", created_by=kim)
    file = StoredFile.objects.create(tenant=tenant, purpose="fine-tune", filename="a.jsonl", bytes=1, sha256="0")
    base = register_model("demo", Path("/m"), "d", "smollm2-135m-instruct", 512, False)
    adapter = Adapter.objects.create(
        name=NAME, tenant=tenant, base=base, path="/a", digest="d", rank=16, state="waiting"
    )
    check = {"name": "parity", "verdict": "pass", "blocking": True, "reason": "close", "measured": {}}
    Evaluation.objects.create(adapter=adapter, verdict="pass", checks=[check])
    row = Job.objects.create(
        tenant=tenant, key=key, requested_by=kim, base=base, training_file=file, seed=1, policy="approve",
        status="succeeded", adapter=adapter, fence=2,
    )  # fmt: skip
    JobEvent.objects.create(job=row, message="training begins on cpu:1")
    Checkpoint.objects.create(id="ftckpt-1", job=row, step=8, fence=1, path="/c")
    return row


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_lists_fine_tunes_of_all_tenants_or_of_one(job: Job) -> None:
    assert [(row["id"], row["model"]) for row in answer("job", "list")] == [(job.id, NAME)]
    assert answer("job", "list", "--tenant", "acme")
    assert answer("job", "list", "--tenant", "other") == []


def test_it_shows_a_fine_tune_with_its_story(job: Job) -> None:
    shown = answer("job", "show", job.id)
    assert (shown["status"], shown["requested_by"], shown["fence"]) == ("succeeded", "kim", 2)
    assert shown["events"][0]["message"] == "training begins on cpu:1"
    assert shown["checkpoints"] == [{"step": 8, "fence": 1}]
    assert shown["plan"] is None


def test_it_shows_the_languages_and_licences_that_are_trained_on(job: Job) -> None:
    assert (answer("job", "show", job.id)["languages"], answer("job", "show", job.id)["licences"]) == ({}, {})
    counts = {"files": 9, "bytes": 700}
    report = {
        "languages": [
            {"language": "Python", "kept": 7, "dropped": 2, **counts},
            {"language": "C", "kept": 0, **counts},
        ],
        "licences": [{"licence": "MIT", "family": "permissive", "kept": 7, **counts}],
    }
    Dataset.objects.create(file=job.training_file, kind="text", path="/d", digest="d", rows=7, report=report)
    shown = answer("job", "show", job.id)
    assert (shown["languages"], shown["licences"]) == ({"Python": 7}, {"MIT": 7})
    assert "Python" in run("job", "show", job.id).output


def test_it_shows_what_training_was_reckoned_to_take(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(plan=PLAN)
    assert answer("job", "show", job.id)["plan"] == PLAN
    told = " ".join(run("job", "show", job.id).stdout.split())
    assert "plan for cpu:1: memory 0.3 GB weights + 29.0 MB adapter" in told
    assert "= 3.9 GB of 8.0 GB; disk 0.2 GB of 50.0 GB free, 1.1 GB of it kept" in told
    assert "about 1200 tokens x 10 epochs, 53 s to 6 min (from former runs)" in told
    for_people = run("job", "show", job.id)
    assert for_people.exit_code == 0
    assert "training begins on cpu:1" in for_people.output


def test_it_cancels_a_fine_tune_that_is_not_over(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(status="queued")
    assert run("job", "cancel", job.id).exit_code == 0
    assert Job.objects.get(pk=job.pk).status == "cancelled"
    again = run("job", "cancel", job.id)
    assert again.exit_code == Exit.FAILED
    assert "cancelled" in again.output


@pytest.mark.parametrize(
    "command",
    [
        ("job", "show", "ftjob-x"),
        ("job", "cancel", "ftjob-x"),
        ("adapter", "show", "ft:x"),
        ("adapter", "withdraw", "ft:x"),
        ("adapter", "pin", "ft:x"),
        ("adapter", "unpin", "ft:x"),
        ("adapter", "approve", "ft:x", "--by", "lee"),
        ("adapter", "approve", NAME, "--by", "nobody"),
    ],
)
def test_it_says_that_there_is_none(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.exit_code == Exit.NOT_FOUND
    assert "list` shows them" in done.output


def test_it_shows_an_adapter_with_its_checks_and_the_decision(job: Job) -> None:
    assert [(row["name"], row["state"], row["engines"]) for row in answer("adapter", "list")] == [(NAME, "waiting", 0)]
    shown = answer("adapter", "show", NAME)
    assert shown["verdict"] == "pass"
    assert shown["checks"] == [{"name": "parity", "verdict": "pass", "reason": "close"}]
    assert shown["decision"] is None
    assert "parity" in run("adapter", "show", NAME).output


def test_the_person_who_asked_does_not_approve_and_a_second_one_does(job: Job) -> None:
    refused = run("adapter", "approve", NAME, "--by", "kim")
    assert refused.exit_code == Exit.FAILED
    assert "second person" in refused.output
    assert Adapter.objects.get(name=NAME).state == "waiting"
    assert run("adapter", "approve", NAME, "--by", "lee", "--reason", "looks right").exit_code == 0
    assert Adapter.objects.get(name=NAME).state == "active"
    assert Approval.objects.get().reason == "looks right"
    assert answer("adapter", "show", NAME)["decision"] == "approved by lee"


def test_a_rejected_adapter_fails_its_fine_tune(job: Job) -> None:
    assert run("adapter", "reject", NAME, "--by", "lee", "--reason", "wrong data").exit_code == 0
    row = Job.objects.get(pk=job.pk)
    assert (row.status, row.error["code"]) == ("failed", "adapter_rejected")


def test_a_withdrawn_adapter_stays_withdrawn(job: Job) -> None:
    assert run("adapter", "withdraw", NAME).exit_code == 0
    assert Adapter.objects.get(name=NAME).state == "withdrawn"
    assert run("adapter", "withdraw", NAME).exit_code == Exit.FAILED


def test_a_pinned_adapter_is_told_as_such_until_it_is_unpinned_or_withdrawn(job: Job) -> None:
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    Deployment.objects.create(model=job.base, slot=slot, max_model_len=512, flags=["--enable-lora"])
    Adapter.objects.update(state="active")
    refused = run("adapter", "pin", NAME)
    assert refused.exit_code == Exit.FAILED
    assert "--max-cpu-loras" in refused.output
    Deployment.objects.update(flags=["--enable-lora", "--max-cpu-loras", "2"])
    assert f"{NAME} is pinned" in run("adapter", "pin", NAME).output
    assert "was pinned already" in run("adapter", "pin", NAME).output
    assert [row["pinned"] for row in answer("adapter", "list")] == [True]
    assert answer("adapter", "unpin", NAME)["pinned"] is False
    assert "was not pinned" in run("adapter", "unpin", NAME).output
    assert answer("adapter", "pin", NAME)["pinned"] is True
    assert answer("adapter", "withdraw", NAME)["pinned"] is False


def test_it_says_why_a_merged_model_is_not_served(job: Job, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"n_routed_experts": 8, "num_hidden_layers": 2}))
    ModelVersion.objects.update(path=str(tmp_path))
    Adapter.objects.update(state="active")
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    Deployment.objects.create(model=job.base, slot=slot, max_model_len=512)
    MergedModel.objects.create(adapter=Adapter.objects.get(), reason="no room", failures=1)
    (listed,) = answer("adapter", "list")
    assert (listed["engines"], listed["merged"]) == (0, "not served: no room")
    assert answer("adapter", "show", NAME)["merged"] == "not served: no room"


def test_a_box_a_job_and_its_device_are_shown_together(job: Job) -> None:
    assert boxes.enter("beta", "w1", "host-b")
    told = [DeviceInfo(id="cpu:0", kind="cpu", name="A CPU", memory_bytes=2**34)]
    assert boxes.report("beta", "w1", told, Abilities((), "demo: no weights at /srv/demo"))
    Job.objects.filter(pk=job.pk).update(status="running", box="beta", lease_expires_at="2099-01-01T00:00Z")
    assert leases.lease_device(f"{job.pk}/3", 60.0, "beta") == "beta/cpu:0"
    assert [row["box"] for row in answer("job", "list")] == ["beta"]
    assert answer("job", "show", job.pk)["box"] == "beta"
    device = answer("devices")[0]
    assert (device["id"], device["box"], device["owner"]) == ("beta/cpu:0", "beta", job.pk)
    (shown,) = box_rows()
    assert (shown["box"], shown["state"], shown["machine"]) == ("beta", "working", "host-b")
    assert (shown["jobs"], shown["lacks"]) == ([job.pk], "demo: no weights at /srv/demo")
    boxes.leave("beta", "w1")
    assert box_rows()[0]["state"] == "silent"
