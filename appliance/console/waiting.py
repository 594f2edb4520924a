"""What waits for a second person's decision, of what this person may see."""

from __future__ import annotations

from django.db.models import QuerySet

from appliance.console.access import owned_by_visible
from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.models import User


def waiting_adapters(user: User) -> QuerySet[Adapter]:
    """Adapters that passed their checks and are not used before somebody decides, the longest wait first."""
    return owned_by_visible(user, Adapter.objects.filter(state=AdapterState.WAITING)).order_by("state_since", "pk")


def waiting_count(user: User) -> int:
    """How many there are."""
    return waiting_adapters(user).count()
