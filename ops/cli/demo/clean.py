"""How a walk ends and how the next one begins: nothing of it works any more; then nothing of it is there any more.

Only what the books hold stays: ledger rows are never removed, or they would no longer add up to the engines' counters.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appliance.env import Env
from appliance.fleet import deployments
from appliance.fleet.models import AdapterLoad, Deployment, DeviceOwner, Replica
from appliance.operations import upgrades
from appliance.operations.models import Upgrade
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.tenants.keys import revoke
from appliance.tenants.models import ApiKey, Plan, Tenant, User
from appliance.training import adapters, jobs
from appliance.training.errors import JobRefused
from appliance.training.models import Job, StoredFile
from finetune.job import TERMINAL
from ops.cli.demo.cast import FIM_MODEL, PEOPLE, TERMS
from ops.cli.demo.upgrade import scratch
from ops.cli.demo.walk import found

TENANTS = tuple(TERMS)
SETTLE_S = 60.0


def close() -> dict[str, int]:
    """Take everything of the demo out of use and leave its rows and files as evidence; fine when done twice."""
    cancelled = 0
    for job in Job.objects.filter(tenant__in=TENANTS).exclude(status__in=[s.value for s in TERMINAL]):
        try:
            jobs.cancel(job)
            cancelled += 1
        except JobRefused:
            pass  # it ended at this very moment
    used = Adapter.objects.filter(tenant__in=TENANTS, state__in=(AdapterState.ACTIVE, AdapterState.WAITING))
    withdrawn = 0
    for adapter in used:
        adapters.withdraw(adapter)
        withdrawn += 1
    revoked = sum(revoke(key) for key in ApiKey.objects.filter(tenant__in=TENANTS, revoked_at=None))
    Tenant.objects.filter(id__in=TENANTS).update(is_active=False)
    User.objects.filter(username__in=PEOPLE).update(is_active=False)
    _end_upgrade()
    deployments.withdraw(FIM_MODEL)
    return {"keys_revoked": revoked, "adapters_withdrawn": withdrawn, "jobs_cancelled": cancelled}


def _end_upgrade() -> None:
    """Take back an upgrade that the walk was interrupted in; nothing of its keys and bundles stays."""
    halfway = upgrades.interrupted()
    if halfway is not None and halfway.name == FIM_MODEL:
        upgrades.resume(upgrades.Watch(), back=True)
    shutil.rmtree(scratch(settings.ENV), ignore_errors=True)


def remove_former_run(env: Env) -> int:
    """Remove the former walk's rows and files entirely; returns the number of jobs and files it had.

    Raises: StepFailed when a worker or an engine does not let go of them.
    """
    close()
    ids = list(Job.objects.filter(tenant__in=TENANTS).values_list("pk", flat=True))
    found(lambda: _let_go(ids), SETTLE_S, "the former walk's fine-tunes, adapters and engines were not let go of", 0.2)
    folders = [env.data_dir / kind / name for kind in ("files", "datasets") for name in TENANTS]
    folders += [env.data_dir / "jobs" / job_id for job_id in ids]
    folders += [Path(path) for path in Adapter.objects.filter(tenant__in=TENANTS).values_list("path", flat=True)]
    count = _delete_rows()
    for folder in folders:
        if folder.resolve().is_relative_to(env.data_dir.resolve()):
            shutil.rmtree(folder, ignore_errors=True)
    return count


def _let_go(ids: list[str]) -> bool:
    """Whether no worker holds a job, no device is lent to one, and no living engine has an adapter of theirs."""
    held = Job.objects.filter(pk__in=ids, lease_expires_at__gt=timezone.now()).exists()
    lent = DeviceOwner.objects.filter(job_id__in=ids, expires_at__gt=timezone.now()).exists()
    loads = AdapterLoad.objects.filter(adapter__tenant__in=TENANTS, loaded=True, life__ended_at=None)
    return not (held or lent or loads.exists() or Replica.objects.filter(deployment__name=FIM_MODEL).exists())


@transaction.atomic
def _delete_rows() -> int:
    count = Job.objects.filter(tenant__in=TENANTS).count() + StoredFile.objects.filter(tenant__in=TENANTS).count()
    for rows in (Job, Adapter, StoredFile, ApiKey):
        rows._default_manager.filter(tenant__in=TENANTS).delete()
    User.objects.filter(username__in=PEOPLE).delete()
    Tenant.objects.filter(id__in=TENANTS).delete()
    _delete_upgraded_versions()
    Plan.objects.filter(name__in=TENANTS).delete()
    return count


def _delete_upgraded_versions() -> None:
    """The versions that came with upgrades; their files stay in the cache, where the next walk finds them."""
    came = list(
        Upgrade.objects.filter(name=FIM_MODEL, rollback=False).exclude(to_model=None).values_list("to_model", flat=True)
    )
    Upgrade.objects.filter(name=FIM_MODEL).delete()
    Deployment.objects.filter(model__in=came).delete()
    ModelVersion.objects.filter(pk__in=came).delete()
