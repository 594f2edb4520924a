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

from appliance.audit.record import record
from appliance.fleet.deployments import deployment_of, record_serving
from appliance.fleet.models import Deployment
from appliance.login import FirstLogin, read_login, write_private
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.acts import create_plan, create_tenant, create_user
from appliance.tenants.keys import mint, revoke
from appliance.tenants.models import SYSTEM_TENANT, ApiKey, Membership, Plan, Tenant, User

DEFAULT_PLAN = "standard"
DEMO_TENANT = "demo"
OPERATOR = "operator"


@transaction.atomic
def ensure_base() -> Plan:
    """The default plan and the tenant that pays for canaries and probes."""
    plan = Plan.objects.filter(name=DEFAULT_PLAN).first()
    if plan is None:
        plan = Plan(name=DEFAULT_PLAN)
        create_plan(plan)
    _ensure_tenant(SYSTEM_TENANT, "System", plan)
    return plan


def _ensure_tenant(tenant_id: str, name: str, plan: Plan) -> Tenant:
    row = Tenant.objects.filter(pk=tenant_id).first()
    if row is None:
        row = Tenant(id=tenant_id, name=name, plan=plan)
        create_tenant(row)
    return row


@transaction.atomic
def ensure_first_login(path: Path) -> FirstLogin:
    """The operator and the demo tenant's key; what the file says and the database no longer knows is made anew."""
    plan = ensure_base()
    known = read_login(path)
    tenant = _ensure_tenant(DEMO_TENANT, "Demo", plan)
    operator = User.objects.filter(username=OPERATOR).first()
    if operator is None:
        password = secrets.token_urlsafe(12)
        operator = User(username=OPERATOR, is_staff=True, is_superuser=True)
        operator.set_password(password)
        create_user(operator, tenant, Membership.Role.OWNER)
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


@transaction.atomic
def register_slot(name: str, flavour: str, engine_version: str, path: Path, digest: str) -> EngineSlot:
    """Record an installed engine slot, or that it changed."""
    values = {"flavour": flavour, "engine_version": engine_version, "path": str(path), "digest": digest}
    known = EngineSlot.objects.filter(name=name, **values).first()
    if known is not None:
        return known
    row, _ = EngineSlot.objects.update_or_create(name=name, defaults=values)
    record("engine.add", name, details={"digest": digest, "version": engine_version})
    return row


@transaction.atomic
def register_model(
    name: str, path: Path, digest: str, preset: str, max_model_len: int, fim: bool, action: str = "model.add"
) -> ModelVersion:
    """Record a verified model version, or that it moved; `action` is what the audit log calls it."""
    values = {"path": str(path), "preset": preset, "max_model_len": max_model_len, "fim": fim}
    known = ModelVersion.objects.filter(name=name, digest=digest, **values).first()
    if known is not None:
        return known
    row, _ = ModelVersion.objects.update_or_create(name=name, digest=digest, defaults=values)
    record(action, name, details={"digest": digest, "path": str(path)})
    return row


@transaction.atomic
def ensure_deployment(model: ModelVersion, slot: EngineSlot, flags: tuple[str, ...], max_model_len: int) -> Deployment:
    """The name's running deployment, of this model version where there is none; what operators changed stays.

    A version that came with an upgrade, or one that an upgrade is about to replace, is left as it is.
    """
    served = Deployment.objects.filter(name=model.name, running=True, serves=True).exclude(model=model).first()
    if served is not None:
        return served
    row, changed = deployment_of(model, slot, flags, max_model_len)
    if changed:
        record_serving(row)
    return row
