"""Every privileged act leaves one entry that says who did it to what, and never a secret."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance import first_rows
from appliance.audit.actor import acting
from appliance.audit.models import AuditEntry
from appliance.audit.stored import faults
from appliance.env import REPO
from appliance.fleet import deployments
from appliance.registry.aliases import remove_alias, set_alias
from appliance.registry.models import Adapter, AdapterState, Alias
from appliance.tenants import acts
from appliance.tenants.keys import change_limits, mint, revoke
from appliance.tenants.models import Membership, Plan, Tenant, User
from appliance.training import adapters, approvals, attempt, files, jobs, lease, pins, proof
from appliance.training.errors import ApprovalRefused, AttemptFailed, JobRefused
from appliance.training.models import Job
from finetune.evaluate.check import Verdict
from finetune.evaluate.gate import Gate
from finetune.job import JobStatus
from ops.cli.main import app
from tests.appliance.audit.entries import only_new, seen, waiting
from tests.appliance.training.cast import BASE, Cast

LOGIN = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
S = JobStatus


def candidate(cast: Cast) -> tuple[Job, Adapter, int]:
    adapter = cast.adapter(AdapterState.CANDIDATE)
    job = cast.job(S.RUNNING, adapter=adapter)
    fence = lease.claim(job.pk)
    assert fence is not None
    return job, adapter, fence


def activate(cast: Cast) -> str:
    job, adapter, fence = candidate(cast)
    proof._carry_out(job, adapter, fence, [], Gate(Verdict.PASS, ()))
    return adapter.name


def fail(cast: Cast) -> str:
    job, adapter, fence = candidate(cast)
    attempt._fail(job.pk, fence, AttemptFailed("adapter_rejected", "it did not pass"))
    return adapter.name


def decide(cast: Cast, approved: bool) -> str:
    adapter = waiting(cast)
    approvals.decide(adapter, cast.owner, approved, "because")
    return adapter.name


def withdraw_adapter(cast: Cast) -> str:
    adapter = cast.adapter(AdapterState.ACTIVE)
    adapters.withdraw(adapter)
    return adapter.name


def pin_adapter(cast: Cast) -> Adapter:
    cast.deployment.flags = ["--enable-lora", "--max-cpu-loras=2"]
    cast.deployment.save()
    adapter = cast.adapter(AdapterState.ACTIVE)
    assert pins.pin(adapter)
    return adapter


def unpin_adapter(cast: Cast) -> str:
    adapter = cast.adapter(AdapterState.ACTIVE, pinned=True)
    assert pins.unpin(adapter)
    return adapter.name


def move_job(cast: Cast, act: Callable[[Job], Job], status: JobStatus) -> str:
    return act(cast.job(status)).pk


def delete_file(cast: Cast) -> str:
    file = cast.file()
    files.delete(file)
    return file.pk


def make_tenant(cast: Cast) -> str:
    acts.create_tenant(Tenant(id="new", name="New", plan=cast.acme.plan))
    return "new"


def make_plan(cast: Cast) -> str:
    acts.create_plan(Plan(name="small"))
    return "small"


def change_plan(cast: Cast) -> str:
    assert acts.change_plan("standard", lambda plan: setattr(plan, "requests_per_minute", 7)) is not None
    return "standard"


def make_user(cast: Cast) -> str:
    acts.create_user(User(username="kim"), cast.acme, Membership.Role.OWNER)
    return "kim"


def set_policy(cast: Cast) -> str:
    assert acts.set_policy("acme", "approve")
    return "acme"


def limit_key(cast: Cast) -> str:
    assert change_limits(cast.key, lambda row: setattr(row, "max_concurrency", 3)) is not None
    return cast.key.prefix


def revoke_key(cast: Cast) -> str:
    assert revoke(cast.key)
    return cast.key.prefix


def add_model(cast: Cast, action: str) -> str:
    return first_rows.register_model("m", Path("/m"), "d", "", 512, False, action).name


def serve_model(cast: Cast) -> str:
    deployments.serve(cast.base, cast.deployment.slot, ("--seed=1",), 2, 1)
    return BASE


def withdraw_model(cast: Cast) -> str:
    assert deployments.withdraw(BASE)
    return BASE


def take_alias_away(cast: Cast) -> str:
    Alias.objects.create(tenant=cast.acme, name="editors", target=BASE)
    remove_alias(cast.acme, "editors")
    return "editors"


ACTS: dict[str, Callable[[Cast], str]] = {
    "key.create": lambda cast: mint(cast.acme, "ci")[0].prefix,
    "key.limits": limit_key,
    "key.revoke": revoke_key,
    "tenant.create": make_tenant,
    "tenant.set_policy": set_policy,
    "plan.create": make_plan,
    "plan.change": change_plan,
    "user.create": make_user,
    "engine.add": lambda cast: first_rows.register_slot("cpu-2", "cpu", "2", Path("/s"), "d").name,
    "model.add": lambda cast: add_model(cast, "model.add"),
    "bundle.import": lambda cast: add_model(cast, "bundle.import"),
    "model.serve": serve_model,
    "model.withdraw": withdraw_model,
    "adapter.activate": activate,
    "adapter.approve": lambda cast: decide(cast, True),
    "adapter.reject": lambda cast: decide(cast, False),
    "adapter.withdraw": withdraw_adapter,
    "adapter.pin": lambda cast: pin_adapter(cast).name,
    "adapter.unpin": unpin_adapter,
    "alias.set": lambda cast: set_alias(cast.acme, "editors", to=BASE).name,
    "alias.remove": take_alias_away,
    "job.create": lambda cast: jobs.create(cast.key, model=BASE, training_file=cast.file().pk).pk,
    "job.cancel": lambda cast: move_job(cast, jobs.cancel, S.QUEUED),
    "job.pause": lambda cast: move_job(cast, jobs.pause, S.QUEUED),
    "job.resume": lambda cast: move_job(cast, jobs.resume, S.PAUSED),
    "file.delete": delete_file,
}
APPLIANCE_WIDE = {
    "plan.create",
    "plan.change",
    "engine.add",
    "model.add",
    "bundle.import",
    "model.serve",
    "model.withdraw",
}


@pytest.mark.usefixtures("files_dir")
@pytest.mark.parametrize("action", ACTS)
def test_each_act_leaves_one_entry_with_its_actor(cast: Cast, action: str) -> None:
    before = seen()
    with acting("somebody"):
        subject = ACTS[action](cast)
    entry = only_new(before)
    assert (entry.action, entry.subject, entry.actor) == (action, subject, "somebody")
    tenant = None if action in APPLIANCE_WIDE else "new" if action == "tenant.create" else "acme"
    assert entry.tenant_id == tenant
    assert list(faults()) == []


def test_every_act_is_described() -> None:
    text = (REPO / "docs" / "operations.md").read_text()
    assert not [action for action in ACTS if f"`{action}`" not in text]


def test_a_gate_that_rejects_leaves_one_entry_too(cast: Cast) -> None:
    before = seen()
    name = fail(cast)
    entry = only_new(before)
    assert (entry.action, entry.subject, entry.actor) == ("adapter.reject", name, "system")


def test_an_adapter_that_waits_for_a_person_is_not_told_as_active(cast: Cast) -> None:
    job, adapter, fence = candidate(cast)
    job.policy = "approve"
    before = seen()
    proof._carry_out(job, adapter, fence, [], Gate(Verdict.PASS, ()))
    assert seen() == before


@pytest.mark.usefixtures("files_dir")
def test_what_changed_nothing_or_was_refused_leaves_none(cast: Cast) -> None:
    revoke(cast.key)
    job = cast.job(S.CANCELLED)
    adapter = waiting(cast)
    first_rows.register_model("m", Path("/m"), "d", "", 512, False)
    before = seen()
    assert not revoke(cast.key)
    assert acts.set_policy("acme", "auto")
    assert not acts.set_policy("nobody", "approve")
    assert not deployments.withdraw("nothing")
    first_rows.register_model("m", Path("/m"), "d", "", 512, False)
    with pytest.raises(JobRefused):
        jobs.cancel(job)
    with pytest.raises(JobRefused):
        jobs.create(cast.key, model="nothing", training_file="file-x")
    with pytest.raises(ApprovalRefused):
        approvals.decide(adapter, cast.developer, True)
    assert seen() == before


def test_the_first_rows_are_in_the_log_once(db: None, tmp_path: Path) -> None:
    login = first_rows.ensure_first_login(tmp_path / "first-login.json")
    told = list(AuditEntry.objects.order_by("seq").values_list("action", "subject"))
    assert told == [
        ("plan.create", "standard"), ("tenant.create", "system"), ("tenant.create", "demo"), ("user.create", "operator"),
        ("key.create", login.api_key[:11]),
    ]  # fmt: skip
    first_rows.ensure_first_login(tmp_path / "first-login.json")
    assert seen() == len(told)


def test_no_entry_holds_a_key_or_a_password(db: None, tmp_path: Path) -> None:
    login = first_rows.ensure_first_login(tmp_path / "login.json")
    _, secret = mint(Tenant.objects.get(pk="demo"), "ci")
    made = CliRunner().invoke(app, ["user", "create", "kim", "--operator"]).stdout.strip()
    minted = CliRunner().invoke(app, ["key", "create", "demo"]).stdout.strip()
    text = json.dumps(list(AuditEntry.objects.values("actor", "subject", "details", "tenant_id", "action")))
    for word in (login.password, login.api_key, secret, made, minted):
        assert len(word) > 11
        assert word not in text
        assert word[:14] not in text
