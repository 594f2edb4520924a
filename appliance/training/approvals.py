"""The second pair of eyes: who may decide on an adapter that passed its checks, and what the decision does."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from appliance.audit.record import record
from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.models import Membership, User
from appliance.training.adapters import move
from appliance.training.errors import ApprovalRefused
from appliance.training.events import add_event
from appliance.training.models import Approval, Job
from finetune.job import JobStatus


def refusal(adapter: Adapter, user: User) -> str | None:
    """Why this person may not decide on this adapter now; None when they may."""
    job = Job.objects.filter(adapter=adapter).first()
    if not user.is_active or not may_see(adapter, user):
        return "Only operators and the tenant's owners decide on an adapter."
    if adapter.state != AdapterState.WAITING:
        return f"{adapter.name} is {adapter.get_state_display()}: nobody waits for a decision."
    if job is not None and job.requested_by_id == user.pk:
        return "You asked for this fine-tune; a second person has to decide."
    if (job is None or job.requested_by_id is None) and not user.is_staff:
        # a key that no person made: only an operator is surely somebody else
        return "Nobody knows who asked for this fine-tune; an operator has to decide."
    return None


def may_see(adapter: Adapter, user: User) -> bool:
    """Whether this person is an operator or an owner of the adapter's tenant."""
    owner = Membership.objects.filter(user=user, tenant_id=adapter.tenant_id, role=Membership.Role.OWNER)
    return user.is_staff or owner.exists()


def decide(adapter: Adapter, user: User, approved: bool, reason: str = "") -> Approval:
    """Approve or reject an adapter that waits; approved, its engines load it within seconds.

    Raises: ApprovalRefused when this person may not, or somebody else was first.
    """
    adapter.refresh_from_db()
    why_not = refusal(adapter, user)
    if why_not is not None:
        raise ApprovalRefused(why_not)
    try:
        with transaction.atomic():
            if not move(adapter, AdapterState.ACTIVE if approved else AdapterState.REJECTED):
                raise ApprovalRefused(f"Somebody else decided on {adapter.name} a moment ago.")
            row = Approval.objects.create(adapter=adapter, user=user, approved=approved, reason=reason)
            _tell(adapter, row)
            action = "adapter.approve" if approved else "adapter.reject"
            record(action, adapter.name, tenant=adapter.tenant_id, details={"person": user.username})
    except IntegrityError:
        raise ApprovalRefused(f"Somebody else decided on {adapter.name} a moment ago.") from None
    return row


def _tell(adapter: Adapter, row: Approval) -> None:
    job = Job.objects.filter(adapter=adapter).first()
    if job is None:
        return
    add_event(job.pk, f"{adapter.name} was {'approved' if row.approved else 'rejected'} by {row.user}")
    if not row.approved:
        error = {"code": "adapter_rejected", "message": row.reason or "A person rejected the adapter.", "param": None}
        Job.objects.filter(pk=job.pk, status=JobStatus.SUCCEEDED.value).update(
            status=JobStatus.FAILED.value, error=error
        )
