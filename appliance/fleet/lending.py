"""What operators allow of lending a model's devices to fine-tunes; it holds for the name, whichever version serves it."""

from __future__ import annotations

from django.db import transaction

from appliance.audit.record import record
from appliance.fleet.deployments import lock_name
from appliance.fleet.models import Deployment
from inference.pool.lend_policy import Lending


@transaction.atomic
def set_lending(name: str, lending: Lending | None) -> Deployment | None:
    """Let a name's devices be lent, or with None no longer: what is lent then comes back at the next checkpoint.

    None when the name is not served.
    """
    rows = lock_name(name)
    if not any(row.running for row in rows):
        return None
    for row in rows:
        row.lends = lending is not None
        if lending is not None:
            row.min_serving, row.lend_window = lending.min_serving, str(lending.window or "")
        row.save(update_fields=("lends", "min_serving", "lend_window"))
    row = next((row for row in rows if row.running and row.serves), rows[0])
    record("model.lend", name, details={"lends": row.lends, "min_serving": row.min_serving, "window": row.lend_window})
    return row
