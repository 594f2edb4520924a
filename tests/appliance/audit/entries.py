"""What tests of the log share: what was written since, and something that waits for a person."""

from __future__ import annotations

from appliance.audit.models import AuditEntry
from appliance.registry.models import Adapter, AdapterState
from finetune.job import JobStatus
from tests.appliance.training.cast import Cast

S = JobStatus


def seen() -> int:
    return AuditEntry.objects.count()


def only_new(before: int) -> AuditEntry:
    """The one entry that came since."""
    return AuditEntry.objects.get(seq__gt=before)


def waiting(cast: Cast) -> Adapter:
    adapter = cast.adapter(AdapterState.WAITING)
    cast.job(S.SUCCEEDED, adapter=adapter, requested_by=cast.developer)
    return adapter
