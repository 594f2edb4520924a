"""The meter's figures of kept conversations."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from appliance.ledger.metrics import REGISTRY

LISTED = Counter("coderack_conversations_listed", "Kept conversations that lists show by now.", registry=REGISTRY)
DAMAGED = Counter(
    "coderack_conversations_damaged", "Records of conversations that can't be read, passed over.", registry=REGISTRY
)
ERASED_DAYS = Counter(
    "coderack_conversations_erased_days",
    "Days of a tenant whose time was over, or that were erased.",
    registry=REGISTRY,
)
OVER_SIZE = Counter(
    "coderack_conversations_over_size_files", "Files removed because a tenant's size was reached.", registry=REGISTRY
)
BYTES = Gauge("coderack_conversations_bytes", "What all tenants' conversations take on the disk.", registry=REGISTRY)
TENANTS = Gauge("coderack_conversations_tenants", "Tenants that have their conversations kept.", registry=REGISTRY)
FAILED = Counter("coderack_conversations_failed_passes", "Passes that met an error, tried again.", registry=REGISTRY)
