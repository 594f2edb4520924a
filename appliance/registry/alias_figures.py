"""How the two models behind an alias do, from the ledger."""

from __future__ import annotations

from appliance.fleet.canaries import Doing, doing
from appliance.ledger.models import LedgerEntry
from appliance.registry.models import Alias


def compare(alias: Alias) -> tuple[Doing, Doing] | None:
    """The model that an alias stands for and its canary, since that one got its share; None without a canary.

    Counted is what the tenant's keys asked of either model, by the alias or by its own name: the ledger books models.
    """
    if not alias.canary or alias.canary_since is None:
        return None
    found = LedgerEntry.objects.filter(tenant_id=alias.tenant_id, started_at__gte=alias.canary_since)
    return (
        doing(found.filter(model=alias.target), alias.target, 100 - alias.share),
        doing(found.filter(model=alias.canary), alias.canary, alias.share),
    )
