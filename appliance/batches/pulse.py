"""What a holder of a batch tells and learns every two seconds: the lease, how far it is, and whether it has to end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from django.utils import timezone

from appliance.batches import lease
from appliance.batches.lines import Fault
from appliance.batches.models import Batch
from appliance.batches.results import Done
from appliance.batches.states import BatchStatus


class End(Enum):
    """Why lines are not asked any more before all of them are done."""

    CANCELLED = "batch_cancelled"
    EXPIRED = "batch_expired"
    REFUSED = "refused"


@dataclass(frozen=True)
class Beat:
    """What was found; `end` is None while work goes on."""

    end: End | None
    fault: Fault | None = None


CANCELLED = Fault("batch_cancelled", "The batch was cancelled before this request was executed.")
EXPIRED = Fault("batch_expired", "This request could not be executed before the completion window expired.")


def beat(batch_id: str, fence: int, done: Done | None, note: str) -> Beat | None:
    """Renew the lease and write down how far the batch is; None when it is not this holder's any more."""
    changes: dict[str, object] = {"lease_expires_at": lease.expiry(), "note": note[:300]}
    if done is not None:
        changes |= {
            "num_completed": done.num_completed, "num_failed": done.num_failed, "input_tokens": done.usage.input,
            "cached_tokens": done.usage.cached, "output_tokens": done.usage.output,
        }  # fmt: skip
    if lease.held(batch_id, fence).update(**changes) != 1:
        return None
    return look(Batch.objects.select_related("tenant", "key").get(pk=batch_id), timezone.now())


def look(batch: Batch, now: datetime) -> Beat:
    """Whether a batch has to end, by its row: what a person asked for counts first."""
    if batch.status == BatchStatus.CANCELLING:
        return Beat(End.CANCELLED, CANCELLED)
    refusal = refusal_of(batch, now)
    if refusal is not None:
        return Beat(End.REFUSED, refusal)
    return Beat(End.EXPIRED, EXPIRED) if batch.expires_at <= now else Beat(None)


def refusal_of(batch: Batch, now: datetime) -> Fault | None:
    """Why nothing may be asked for this batch any more."""
    if not batch.tenant.is_active:
        return Fault("tenant_suspended", "The tenant was switched off.")
    key = batch.key
    if key is None or key.revoked_at is not None:
        return Fault("key_revoked", "The key that made this batch was revoked.")
    if key.expires_at is not None and key.expires_at <= now:
        return Fault("key_expired", "The key that made this batch expired.")
    return None


def began(batch_id: str, fence: int, num_lines: int, model: str) -> bool:
    """The input file can be worked on; False when the batch was moved meanwhile."""
    changes = {"num_lines": num_lines, "model": model}
    return lease.move(batch_id, fence, BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, **changes)
