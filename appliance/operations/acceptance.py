"""Acceptance runs: a key for the run's own use, the load through the gateway, the books, the certificate, the row.

One at a time: two loads would each measure the other. What a run that was ended left behind, the next one clears away.
Measuring, judging and signing are ops.acceptance's.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from appliance.env import Env
from appliance.operations.acceptance_facts import limits, served
from appliance.operations.acceptance_run import KEY_NAME, Asked, Running, Say, root_of
from appliance.operations.models import AcceptanceRun
from appliance.tenants.keys import revoke
from appliance.tenants.models import SYSTEM_TENANT, ApiKey, Tenant
from ops.acceptance import folder, workload
from ops.acceptance.errors import BadWorkload, CannotRun
from ops.acceptance.signing import ensure_key

__all__ = ["Asked", "certificate_file", "root_of", "run"]


def run(env: Env, asked: Asked, say: Say) -> AcceptanceRun:
    """Put the load on, measure, judge, sign, and keep it.

    Raises: AcceptanceError when it can't be made or would say nothing; then nothing is kept.
    """
    with _alone(root_of(env)):
        for line in _clear(root_of(env)):
            say(line)
        key = ensure_key(root_of(env) / "keys")
        found = served(asked.workload.model)
        tenant = Tenant.objects.select_related("plan").get(pk=SYSTEM_TENANT)
        if bad := tuple(workload.faults(asked.workload, asked.target, limits(found.deployment, tenant))):
            raise BadWorkload(bad)
        try:
            return Running(env, asked, say, found, tenant).go(key)
        finally:
            folder.clear(root_of(env))  # a full disk must not stay full of what was not published


def certificate_file(row: AcceptanceRun, name: str) -> Path:
    """One of a run's files.

    Raises: FileNotFoundError when it is not there, or the row leads outside the certificates' place.
    """
    root = root_of(settings.ENV).resolve()
    path = (Path(row.folder) / name).resolve()
    if name not in {*folder.SIGNED, folder.SIGNATURE} or path.parent != root / str(row.pk) or not path.is_file():
        raise FileNotFoundError(f"run {row.pk} has no {name}")
    return path


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (root / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRun("another acceptance run is on: wait for its end, two would measure each other") from None
        yield


def _clear(root: Path) -> Iterator[str]:
    """Whoever holds the lock knows that nobody needs these any more."""
    if count := folder.clear(root):
        yield f"removed what {count} ended runs left"
    for left in ApiKey.objects.filter(tenant=SYSTEM_TENANT, internal=True, name=KEY_NAME, revoked_at=None):
        revoke(left)
        yield f"revoked the key {left.prefix} that an ended run left"
