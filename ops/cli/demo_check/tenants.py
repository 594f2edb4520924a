"""Claims about tenants, plans, people and keys; and that nothing of the walk works any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ops.cli.demo_check.evidence import NORTH, PEOPLE, SOUTH, Evidence

POLICIES = {NORTH: "auto", SOUTH: "approve"}
TAKE_EFFECT_S = 1.0


def made(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Two tenants with their own plans and policies, and a key each."""
    if sorted(shown["tenants"]) != sorted(POLICIES):
        yield f"other tenants: {shown['tenants']}"
    if len({_prices(evidence, tenant) for tenant in POLICIES} - {()}) != len(POLICIES):
        yield "the two tenants do not have a plan and prices each"
    for tenant, policy in POLICIES.items():
        row = evidence.one("SELECT adapter_policy FROM tenants_tenant WHERE id = %s", tenant)
        if row is None or row["adapter_policy"] != policy:
            yield f"{tenant} is not there with policy {policy}"
        key = evidence.one("SELECT tenant_id FROM tenants_apikey WHERE id = %s", shown["keys"][tenant])
        if key is None or key["tenant_id"] != tenant:
            yield f"{tenant} does not have the key {shown['keys'][tenant]}"
    if evidence.one("SELECT 1 FROM registry_modelversion WHERE name = %s", shown["model"]) is None:
        yield f"there is no model {shown['model']}"


def _prices(evidence: Evidence, tenant: str) -> tuple[object, ...]:
    row = evidence.one(
        "SELECT p.name, currency, input_price_micros, cached_price_micros, output_price_micros FROM tenants_plan p"
        " JOIN tenants_tenant t ON t.plan_id = p.id WHERE t.id = %s AND p.name = t.id",
        tenant,
    )
    return tuple(row.values()) if row else ()


def revoked(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The key is revoked, and nothing was asked with it afterwards."""
    key = evidence.one("SELECT * FROM tenants_apikey WHERE id = %s", shown["key"])
    if key is None or key["tenant_id"] != NORTH or key["revoked_at"] is None:
        yield f"{shown['key']} is no revoked key of {NORTH}"
        return
    later = evidence.all(
        "SELECT started_at FROM ledger_ledgerentry WHERE key_id = %s AND started_at > %s",
        shown["key"],
        key["revoked_at"],
    )
    if any((row["started_at"] - key["revoked_at"]).total_seconds() > TAKE_EFFECT_S for row in later):
        yield "requests with the revoked key were served"
    if not 0 <= measured["refused_after_ms"] <= 1000 * TAKE_EFFECT_S:
        yield f"refused only after {measured['refused_after_ms']} ms"


def closed(evidence: Evidence) -> Iterator[str]:
    """What the walk used is out of use: keys, tenants, people, adapters, fine-tunes."""
    for tenant in POLICIES:
        if evidence.all("SELECT 1 FROM tenants_apikey WHERE tenant_id = %s AND revoked_at IS NULL", tenant):
            yield f"{tenant} has keys that work"
        if evidence.all("SELECT 1 FROM tenants_tenant WHERE id = %s AND is_active", tenant):
            yield f"{tenant} is active"
        if evidence.all(
            "SELECT 1 FROM registry_adapter WHERE tenant_id = %s AND state NOT IN ('withdrawn', 'rejected')", tenant
        ):
            yield f"{tenant} has adapters that are not withdrawn"
        if evidence.all(
            "SELECT 1 FROM training_job WHERE tenant_id = %s AND status NOT IN ('succeeded', 'failed', 'cancelled')",
            tenant,
        ):
            yield f"{tenant} has fine-tunes that are not over"
    if evidence.all("SELECT 1 FROM tenants_user WHERE username = ANY(%s) AND is_active", list(PEOPLE)):
        yield "the demo's people can log in"
