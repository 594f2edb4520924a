"""A tenant whose conversations are kept, and another one."""

from __future__ import annotations

import pytest

from appliance.tenants.models import Plan, Tenant
from tests.appliance.conversations.keeping import turn_on


@pytest.fixture
def acme(db: None) -> Tenant:
    """Its conversations are kept for 30 days."""
    tenant = Tenant.objects.create(id="acme", name="Acme", plan=Plan.objects.create(name="standard"))
    turn_on(tenant)
    return tenant


@pytest.fixture
def rivals(acme: Tenant) -> Tenant:
    """It asked for nothing."""
    return Tenant.objects.create(id="rivals", name="Rivals", plan=acme.plan)
