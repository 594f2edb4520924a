"""How a demo removes the former walk: entirely, nothing of anybody else, and only once workers have let go of it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from appliance.ledger.models import LedgerEntry
from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.keys import mint
from appliance.tenants.models import ApiKey, Plan, Tenant, User
from appliance.training.models import Job, StoredFile
from finetune.job import JobStatus
from ops.cli.demo import clean
from ops.cli.demo.cast import NORTH, REQUESTER
from ops.cli.demo.walk import StepFailed
from tests.appliance.training.cast import Cast


@pytest.fixture
def former(cast: Cast, files_dir: Path, tmp_path: Path) -> Job:
    """What a walk leaves: a tenant with its plan, key, person, file, fine-tune and adapter, and their folders."""
    plan = Plan.objects.create(name=NORTH)
    north = Tenant.objects.create(id=NORTH, name=NORTH, plan=plan)
    requester = User.objects.create(username=REQUESTER)
    key, _ = mint(north, "demo", requester)
    file = StoredFile.objects.create(tenant=north, purpose="fine-tune", filename="a.jsonl", bytes=1, sha256="0")
    job = cast.job(JobStatus.SUCCEEDED, tenant=north, key=key, requested_by=requester, training_file=file)
    folder = Path(settings.ENV.data_dir) / "jobs" / job.id / "adapter"
    job.adapter = cast.adapter(AdapterState.ACTIVE, name=f"ft:{NORTH}", tenant=north, path=str(folder))
    job.save()
    for path in (folder, files_dir / NORTH, files_dir.parent / "datasets" / NORTH, files_dir / "acme"):
        path.mkdir(parents=True)
        (path / "content").write_text("x")
    return job


def test_nothing_of_the_former_walk_stays_but_the_books(former: Job, files_dir: Path) -> None:
    now = timezone.now()
    LedgerEntry.objects.create(
        request_id="req-1", tenant_id=NORTH, model="m", endpoint="chat", started_at=now, finished_at=now, prompt_tokens=1,
        cached_tokens=0, completion_tokens=1, engine_prompt_tokens=1, outcome="complete", http_status=200,
    )  # fmt: skip
    assert clean.remove_former_run(settings.ENV) == 2
    for rows in (Job, Adapter, StoredFile, ApiKey):
        assert not rows._default_manager.filter(tenant=NORTH).exists()
    assert not Tenant.objects.filter(id=NORTH).exists()
    assert not Plan.objects.filter(name=NORTH).exists()
    assert not User.objects.filter(username=REQUESTER).exists()
    assert LedgerEntry.objects.filter(tenant_id=NORTH).count() == 1
    left = [files_dir / NORTH, files_dir.parent / "datasets" / NORTH, files_dir.parent / "jobs" / former.id]
    assert not [path for path in left if path.exists()]


def test_other_tenants_keep_what_is_theirs(former: Job, cast: Cast, files_dir: Path) -> None:
    theirs = cast.job()
    clean.remove_former_run(settings.ENV)
    assert Job.objects.filter(pk=theirs.pk).exists()
    assert Tenant.objects.filter(pk="acme", is_active=True).exists()
    assert ApiKey.objects.filter(pk=cast.key.pk, revoked_at=None).exists()
    assert (files_dir / "acme" / "content").exists()


def test_no_folder_outside_the_data_directory_is_removed(former: Job, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    Adapter.objects.filter(name=f"ft:{NORTH}").update(path=str(elsewhere))
    clean.remove_former_run(settings.ENV)
    assert elsewhere.exists()


def test_where_nothing_is_left_nothing_is_removed(former: Job) -> None:
    clean.remove_former_run(settings.ENV)
    assert clean.remove_former_run(settings.ENV) == 0


def test_what_a_worker_still_holds_is_left_and_told(former: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean, "SETTLE_S", 0.1)
    Job.objects.filter(pk=former.pk).update(lease_expires_at=timezone.now() + timedelta(seconds=20))
    with pytest.raises(StepFailed, match="not let go"):
        clean.remove_former_run(settings.ENV)
    assert Job.objects.filter(pk=former.pk).exists()
    assert not Tenant.objects.get(pk=NORTH).is_active


def test_a_walk_that_ends_takes_everything_out_of_use_and_keeps_it(former: Job) -> None:
    assert json.loads(json.dumps(clean.close())) == {"keys_revoked": 1, "adapters_withdrawn": 1, "jobs_cancelled": 0}
    assert not ApiKey.objects.filter(tenant=NORTH, revoked_at=None).exists()
    assert Adapter.objects.get(name=f"ft:{NORTH}").state == AdapterState.WITHDRAWN
    assert not Tenant.objects.get(pk=NORTH).is_active
    assert not User.objects.get(username=REQUESTER).is_active
    assert Job.objects.filter(pk=former.pk).exists()
    assert clean.close() == {"keys_revoked": 0, "adapters_withdrawn": 0, "jobs_cancelled": 0}
