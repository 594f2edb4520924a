"""The rows an appliance starts with: system tenant and default plan; operator, demo tenant and demo model on request.

Everything is idempotent. The operator's first password and the demo key are written once to `first-login.json` (mode 0600)
in the data directory, because the database keeps only their digests.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict
from pathlib import Path

from django.db import transaction

from appliance.fleet.models import Deployment
from appliance.login import FirstLogin, read_login, write_private
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.keys import mint, revoke
from appliance.tenants.models import SYSTEM_TENANT, ApiKey, Membership, Plan, Tenant, User

DEFAULT_PLAN = "standard"
DEMO_TENANT = "demo"
OPERATOR = "operator"


def ensure_base() -> Plan:
    """The default plan and the tenant that pays for canaries and probes."""
    plan, _ = Plan.objects.get_or_create(name=DEFAULT_PLAN)
    Tenant.objects.get_or_create(id=SYSTEM_TENANT, defaults={"name": "System", "plan": plan})
    return plan


@transaction.atomic
def ensure_first_login(path: Path) -> FirstLogin:
    """The operator and the demo tenant's key; what the file says and the database no longer knows is made anew."""
    plan = ensure_base()
    known = read_login(path)
    tenant, _ = Tenant.objects.get_or_create(id=DEMO_TENANT, defaults={"name": "Demo", "plan": plan})
    operator, created = User.objects.get_or_create(username=OPERATOR, defaults={"is_staff": True, "is_superuser": True})
    if created:
        password = secrets.token_urlsafe(12)
        operator.set_password(password)
        operator.save()
        Membership.objects.get_or_create(user=operator, tenant=tenant, defaults={"role": Membership.Role.OWNER})
    else:
        # a password that the operator has changed since is theirs, and no file's
        password = known.password if known and operator.check_password(known.password) else ""
    key = known.api_key if known and _works(known.api_key) else _new_demo_key(tenant)
    login = FirstLogin(operator=OPERATOR, password=password, api_key=key)
    if login != known:
        write_private(path, asdict(login))
    return login


def _works(key: str) -> bool:
    return ApiKey.objects.filter(digest=hashlib.sha256(key.encode()).hexdigest(), revoked_at=None).exists()


def _new_demo_key(tenant: Tenant) -> str:
    for old in ApiKey.objects.filter(tenant=tenant, name="first key", revoked_at=None):
        revoke(old)
    return mint(tenant, "first key")[1]


def register_slot(name: str, flavour: str, engine_version: str, path: Path, digest: str) -> EngineSlot:
    """Record an installed engine slot, or that it changed."""
    row, _ = EngineSlot.objects.update_or_create(
        name=name, defaults={"flavour": flavour, "engine_version": engine_version, "path": str(path), "digest": digest}
    )
    return row


def register_model(name: str, path: Path, digest: str, preset: str, max_model_len: int, fim: bool) -> ModelVersion:
    """Record a verified model version, or that it moved."""
    row, _ = ModelVersion.objects.update_or_create(
        name=name,
        digest=digest,
        defaults={"path": str(path), "preset": preset, "max_model_len": max_model_len, "fim": fim},
    )
    return row


def ensure_deployment(model: ModelVersion, slot: EngineSlot, flags: tuple[str, ...], max_model_len: int) -> Deployment:
    """A running deployment of this model version; an operator's own changes to it stay.

    A name stands for one version: deployments of the name's other versions are to stop.
    """
    Deployment.objects.filter(model__name=model.name, running=True).exclude(model=model).update(running=False)
    row, created = Deployment.objects.get_or_create(
        model=model, defaults={"slot": slot, "flags": list(flags), "max_model_len": max_model_len}
    )
    if not created and row.slot_id != slot.pk:
        row.slot = slot
        row.save(update_fields=("slot",))
    return row
