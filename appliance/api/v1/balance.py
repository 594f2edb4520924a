"""`/user/balance`, an address of DeepSeek's platform: what is left of the plan's budget of this month (UTC).

Without a budget there is no amount to name. Programs that ask for it switch a service off at a balance of zero, and an
invented amount would be a promise: the list of balances is empty.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from ninja import Router, Schema

from appliance.api.auth import KeyRequest
from appliance.api.v1.costs import charged
from appliance.ledger.buckets import TooMuch, cut, present_end, summed
from appliance.ledger.cost import Tokens, cost_micros
from appliance.ledger.models import LedgerEntry
from appliance.tenants.models import SYSTEM_TENANT, Tenant
from appliance.training.errors import Refused

router = Router(tags=["Usage"])
DAY_S = 86400
MICROS_OF_A_CENT = 10_000


class BalanceInfo(Schema):
    """A balance in one currency; the amounts are texts."""

    currency: str
    total_balance: str
    granted_balance: str
    topped_up_balance: str


class Balance(Schema):
    """Whether requests are answered as far as money goes, and what is left of the month's budget."""

    is_available: bool
    balance_infos: list[BalanceInfo]


@router.get("/balance", response=Balance, summary="DeepSeek's balance: what is left of this month's budget")
def balance(request: KeyRequest) -> dict[str, Any]:
    """The plan's budget less what this month cost. Without a budget none is used up: see costs."""
    tenant = request.auth.tenant
    budget = tenant.plan.monthly_budget_micros
    if budget is None or tenant.id == SYSTEM_TENANT:
        return {"is_available": True, "balance_infos": []}
    left = max(0, budget - _cost_of_this_month(tenant))
    cents = left // MICROS_OF_A_CENT  # never more than there is
    shown = f"{cents // 100}.{cents % 100:02}"
    info = {
        "currency": tenant.plan.currency, "total_balance": shown, "granted_balance": shown, "topped_up_balance": "0.00",
    }  # fmt: skip
    return {"is_available": left > 0, "balance_infos": [info]}


def _cost_of_this_month(tenant: Tenant) -> int:
    """Micro-units of the plan's currency, from the first of the month (UTC) on.

    Raises: Refused when the ledger can't be summed in time.
    """
    now = datetime.fromtimestamp(time.time(), UTC)
    first = int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp())
    days = cut(first, present_end(DAY_S), DAY_S, 31)
    try:
        found = summed(LedgerEntry.objects.filter(tenant_id=tenant.id), days, DAY_S, ())
    except TooMuch as error:
        raise Refused(f"This month's cost can't be told: {error}.", None, error.code) from None
    tokens = sum((group.tokens for _, groups in found for group in groups), Tokens(0, 0, 0))
    return cost_micros(tokens, charged(tenant))
