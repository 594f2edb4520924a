"""Adapters' moves between states: each one a compare-and-set, so that two people or processes can't both decide."""

from __future__ import annotations

import re
import secrets

from django.db import transaction
from django.utils import timezone

from appliance.audit.record import Detail, record
from appliance.fleet.models import Replica
from appliance.registry import aliases
from appliance.registry.models import ADAPTER_MOVES, Adapter, AdapterState
from appliance.training.errors import AdapterRefused

_NOT_PLAIN = re.compile(r"[^a-z0-9-]+")


def public_name(base: str, tenant_id: str, suffix: str) -> str:
    """A new adapter's name, `ft:<base>:<tenant>:<suffix>:<short id>`; editors read the base's family from it."""
    plain = _NOT_PLAIN.sub("-", suffix.lower()).strip("-")[:18] or "tuned"
    return f"ft:{base}:{tenant_id}:{plain}:{secrets.token_hex(4)}"


def move(adapter: Adapter, to: AdapterState) -> bool:
    """Change the state if it still is what the caller saw; False when somebody was first or the move is not in the table."""
    seen = AdapterState(adapter.state)
    if to not in ADAPTER_MOVES[seen]:
        return False
    moved = Adapter.objects.filter(pk=adapter.pk, state=seen).update(state=to, state_since=timezone.now()) == 1
    if moved:
        adapter.state = to
    return moved


def withdraw(adapter: Adapter) -> list[str]:
    """Stop serving an adapter, for good; its files stay for the record. The aliases that had it, whose requests get 404 now
    or go to what else they stand for.

    Raises: AdapterRefused when it is neither served nor waiting.
    """
    adapter.refresh_from_db()
    with transaction.atomic():
        if not move(adapter, AdapterState.WITHDRAWN):
            raise AdapterRefused(
                f"{adapter.name} is {adapter.get_state_display()}: there is nothing to withdraw.", "model"
            )
        Adapter.objects.filter(pk=adapter.pk).update(pinned=False)
        names = [alias.name for alias in aliases.using(adapter)]
        details: dict[str, Detail] = {"aliases": ", ".join(names)} if names else {}
        record("adapter.withdraw", adapter.name, tenant=adapter.tenant_id, details=details)
    return names


def is_loaded(adapter: Adapter) -> bool:
    """Whether every ready engine of the base has it, and there is one at least."""
    ready = Replica.objects.filter(state="ready", deployment__model=adapter.base, deployment__running=True)
    lives = [life for life in ready.values_list("life_id", flat=True) if life]
    return bool(lives) and adapter.loads.filter(life_id__in=lives, loaded=True).count() == len(lives)
