"""The cast as rows, and a deployment to show."""

from __future__ import annotations

import pytest

from appliance.fleet.models import Deployment
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.models import Membership, Plan, Tenant, User
from tests.appliance.console.cast import PASSWORD, Cast


@pytest.fixture
def cast(db: None) -> Cast:
    plan = Plan.objects.create(name="standard")
    acme = Tenant.objects.create(id="acme", name="Acme", plan=plan)
    rivals = Tenant.objects.create(id="rivals", name="Rivals", plan=plan)
    people = {
        name: User.objects.create_user(
            name, password=PASSWORD, is_staff=name == "operator", is_superuser=name == "operator"
        )
        for name in ("operator", "owner", "developer", "rival", "stranger")
    }
    Membership.objects.create(user=people["owner"], tenant=acme, role=Membership.Role.OWNER)
    Membership.objects.create(user=people["developer"], tenant=acme)
    Membership.objects.create(user=people["rival"], tenant=rivals, role=Membership.Role.OWNER)
    return Cast(plan, acme, rivals, **people)


@pytest.fixture
def deployment(db: None) -> Deployment:
    model = ModelVersion.objects.create(name="tiny-coder", path="/models/tiny", digest="ab" * 32, max_model_len=8192)
    slot = EngineSlot.objects.create(
        name="cpu-1", flavour="cpu", engine_version="1", path="/engines/cpu-1", digest="cd" * 32
    )
    return Deployment.objects.create(model=model, slot=slot, max_model_len=8192)
