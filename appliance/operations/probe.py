"""One request through the gateway, as a tenant sends it, paid by the tenant `system` with a key that lives for minutes."""

from __future__ import annotations

import http.client
import json
import time
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from appliance.env import reached_at
from appliance.ledger.models import LedgerEntry
from appliance.operations.models import Upgrade
from appliance.tenants.keys import mint, revoke
from appliance.tenants.models import SYSTEM_TENANT, ApiKey, Tenant
from ops.upgrade.errors import StepFailed

KEY_LIFE = timedelta(minutes=5)
ANSWER_S = 30.0
LEDGER_S = 20.0
REQUEST_S = 60.0
PROMPT = "def add(a, b):\n    "


def ask_through_the_gateway(upgrade: Upgrade) -> LedgerEntry:
    """Ask for the upgrade's model by its public name; the ledger's row of the answer.

    Raises: StepFailed when no answer came, or it was not booked.
    """
    revoke_keys(upgrade)  # of a try that was killed
    tenant = Tenant.objects.get(pk=SYSTEM_TENANT)
    _, key = mint(tenant, _key_name(upgrade), expires_at=timezone.now() + KEY_LIFE, internal=True)
    try:
        return _booked(_answered(key, upgrade.name))
    finally:
        revoke_keys(upgrade)


def revoke_keys(upgrade: Upgrade) -> None:
    """Of all tries of an upgrade."""
    unrevoked = ApiKey.objects.filter(tenant_id=SYSTEM_TENANT, internal=True, revoked_at=None)
    for key in unrevoked.filter(name=_key_name(upgrade)):
        revoke(key)


def _key_name(upgrade: Upgrade) -> str:
    return f"upgrade {str(upgrade.pk)[:8]}"


def _answered(key: str, model: str) -> str:
    """The id of a request that was answered. The key takes a moment to be known."""
    deadline, last = time.monotonic() + ANSWER_S, "no answer"
    while time.monotonic() < deadline:
        try:
            status, request_id, body = _ask(key, model)
        except OSError as error:
            last = f"no answer: {error}"
        else:
            if status == 200:
                return request_id
            last = f"{status}: {body[:300]}"
        time.sleep(0.3)
    raise StepFailed(f"a request for {model} through the gateway was answered with {last}")


def _ask(key: str, model: str) -> tuple[int, str, str]:
    env = settings.ENV
    host = reached_at(env.host)
    connection = http.client.HTTPConnection(host, env.port, timeout=REQUEST_S)
    body = json.dumps({"model": model, "prompt": PROMPT, "max_tokens": 4, "temperature": 0})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/v1/completions", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-request-id", ""), answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _booked(request_id: str) -> LedgerEntry:
    deadline = time.monotonic() + LEDGER_S
    while time.monotonic() < deadline:
        entry = LedgerEntry.objects.filter(request_id=request_id).first()
        if entry is not None:
            return entry
        time.sleep(0.2)
    raise StepFailed(f"request {request_id} is not in the ledger after {LEDGER_S:.0f} s: is the meter running?")
