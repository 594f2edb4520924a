"""`/user/balance`, an address of DeepSeek's platform. Nothing is paid ahead here, so there is no amount to name.

Programs that ask for it switch a service off at a balance of zero, and an invented amount would be a promise: the list of
balances is empty.
"""

from __future__ import annotations

from typing import Any

from ninja import Router, Schema

from appliance.api.auth import KeyRequest

router = Router(tags=["Usage"])


class BalanceInfo(Schema):
    """A balance in one currency; the amounts are texts."""

    currency: str
    total_balance: str
    granted_balance: str
    topped_up_balance: str


class Balance(Schema):
    """Whether requests are answered as far as money goes, and what is left of what was paid ahead."""

    is_available: bool
    balance_infos: list[BalanceInfo]


@router.get("/balance", response=Balance, summary="DeepSeek's balance: nothing is paid ahead")
def balance(request: KeyRequest) -> dict[str, Any]:
    """No budget is kept, so none is used up: use is counted and costed afterwards, see costs."""
    return {"is_available": True, "balance_infos": []}
