"""Tenants, plans and keys: what a tenant is billed, what its plan refuses, and how fast a revoked key stops."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

from appliance.fleet.models import Device, Replica
from appliance.ledger.cost import Prices, Tokens, cost_micros
from appliance.ledger.models import LedgerEntry
from ops.cli.demo.cast import APPROVER, NORTH, REQUESTER, SOUTH, TERMS
from ops.cli.demo.walk import Shown, StepFailed, Walk, digest, expect, found, ledger, ms_since, refusal_of

PROMPT = "Write a Python function that adds two numbers."
KEY_S = 5.0
REVOKED_S = 1.0


def make_tenants(walk: Walk) -> Shown:
    """Plans, tenants, people and keys through the command line; both keys answer."""
    walk.model = _served_model()
    for tenant, terms in TERMS.items():
        only = ("--allowed-model", walk.model) if terms.only_demo_model else ()
        walk.cli(
            "plan", "create", tenant, "--currency", terms.currency, "--input-price", terms.input_price,
            "--cached-price", terms.cached_price, "--output-price", terms.output_price,
            "--max-context-tokens", str(terms.max_context_tokens), "--max-file-mib", "8", *only,
        )  # fmt: skip
        walk.cli("tenant", "create", tenant, "--plan", tenant, "--policy", terms.policy)
    walk.cli("user", "create", REQUESTER, "--tenant", SOUTH, "--role", "owner")
    walk.cli("user", "create", APPROVER, "--tenant", SOUTH, "--role", "owner")
    make_key(walk, NORTH)
    make_key(walk, SOUTH, "--user", REQUESTER)
    begin = time.monotonic()
    for tenant in TERMS:
        wait_until_usable(walk, walk.keys[tenant])
    return Shown(
        ",".join(TERMS),
        {"tenants": len(TERMS), "model": walk.model, "keys_usable_after_ms": ms_since(begin)},
        {"tenants": list(TERMS), "keys": dict(walk.key_ids), "model": walk.model},
    )


def make_key(walk: Walk, tenant: str, *options: str) -> None:
    """A tenant's key through the command line."""
    made = walk.cli_json("key", "create", tenant, "--name", "demo", *options)
    walk.keys[tenant], walk.key_ids[tenant] = made["key"], made["id"]


def wait_until_usable(walk: Walk, key: str) -> None:
    """Wait until the gateway knows a key."""
    found(lambda: _status(walk, key) == 200, KEY_S, "the gateway did not take the new key")


def _status(walk: Walk, key: str) -> int:
    connection = walk.connection()
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status
    finally:
        connection.close()


def _served_model() -> str:
    ready = Replica.objects.filter(state="ready").select_related("deployment__model").order_by("deployment__created_at")
    first = next((r for r in ready if "--enable-lora" in r.deployment.flags), None)
    if first is None:
        raise StepFailed("no replica that takes adapters is ready; `coderack status` says why")
    require_free_device()
    return first.deployment.model.name


def require_free_device() -> None:
    """A second model and a fine-tune each need a device that no replica has.

    Raises: StepFailed.
    """
    devices = set(Device.objects.filter(healthy=True).values_list("id", flat=True))
    taken = {device for row in Replica.objects.exclude(life=None) for device in row.devices}
    if not devices - taken:
        raise StepFailed(
            f"all {len(devices)} devices serve models and the demo needs a free one: withdraw a model, or, on a CPU, start "
            "with CODERACK_DEVICES=cpu:3"
        )


def stream_a_chat(walk: Walk) -> Shown:
    """A streamed chat: what the client was told is what the ledger holds, priced by the tenant's plan."""
    begin = time.monotonic()
    raw = walk.client(NORTH).chat.completions.with_raw_response.create(
        model=walk.model, messages=[{"role": "user", "content": PROMPT}], max_tokens=32, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    events = list(raw.parse())
    if not events[-1].usage:
        raise StepFailed("the stream ended without the usage it was asked for")
    return _priced(PROMPT, raw.headers["x-request-id"], events[-1].usage.model_dump(), begin)


def stream_a_completion(walk: Walk) -> Shown:
    """The same for a text completion, of the tenant with the other prices."""
    begin, prompt = time.monotonic(), "def add(a, b):"
    raw = walk.client(SOUTH).completions.with_raw_response.create(
        model=walk.model, prompt=prompt, max_tokens=24, stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    events = list(raw.parse())
    if not events[-1].usage:
        raise StepFailed("the stream ended without the usage it was asked for")
    return _priced(prompt, raw.headers["x-request-id"], events[-1].usage.model_dump(), begin)


def _priced(prompt: str, request_id: str, usage: dict[str, Any], begin: float) -> Shown:
    took_ms = ms_since(begin)
    row = ledger(request_id)
    told = (usage["prompt_tokens"], _cached(usage), usage["completion_tokens"])
    booked = (row.prompt_tokens, row.cached_tokens, row.completion_tokens)
    if told != booked:
        raise StepFailed(f"the client was told {told} tokens (input, cached, output) and the ledger holds {booked}")
    measured = tokens_of(row) | {"cost_micros": _cost(row), "currency": TERMS[row.tenant_id].currency}
    return Shown(prompt, measured | {"took_ms": took_ms, "ttft_ms": row.ttft_ms}, {"request": request_id})


def _cached(usage: dict[str, Any]) -> int:
    return int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


def tokens_of(row: LedgerEntry) -> dict[str, int]:
    """A ledger row's tokens, for the report."""
    return {
        "input_tokens": row.prompt_tokens,
        "cached_tokens": row.cached_tokens,
        "output_tokens": row.completion_tokens,
    }


def _cost(row: LedgerEntry) -> int:
    terms = TERMS[row.tenant_id]
    micros = [int(Decimal(price) * 1_000_000) for price in (terms.input_price, terms.cached_price, terms.output_price)]
    tokens = Tokens(row.prompt_tokens, row.cached_tokens, row.completion_tokens)
    return cost_micros(tokens, Prices(terms.currency, *micros))


def keep_the_context_limit(walk: Walk) -> Shown:
    """A prompt over the plan's limit is refused before an engine sees it."""
    limit = TERMS[NORTH].max_context_tokens
    prompt = "word " * (limit + 200)
    refusal = refusal_of(
        lambda: walk.client(NORTH).chat.completions.create(
            model=walk.model, messages=[{"role": "user", "content": prompt}], max_tokens=1
        )
    )
    expect(refusal, 400, "context_length_exceeded", "messages")
    if str(limit) not in refusal.message:
        raise StepFailed(f"the refusal does not name the plan's limit of {limit} tokens: {refusal.message}")
    return Shown(
        prompt, {"limit_tokens": limit, "status": 400, "code": refusal.code},
        {"request": refusal.request_id, "tenant": NORTH},
    )  # fmt: skip


def leave_a_stream(walk: Walk) -> Shown:
    """A client that leaves is billed for what was generated, exactly, and no more."""
    body = {
        "model": walk.model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1500, "ignore_eos": True,
        "stream": True,
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {walk.keys[NORTH]}", "Content-Type": "application/json"}
    connection = walk.connection()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read(600)
    finally:
        connection.close()
    request_id = answer.getheader("x-request-id", "")
    row = ledger(request_id)
    if row.outcome != "aborted" or not row.exact or not 0 < row.completion_tokens < 1500:
        raise StepFailed(f"booked as {row.outcome}, {row.completion_tokens} tokens, exact: {row.exact}")
    return Shown(PROMPT, tokens_of(row) | {"outcome": "aborted", "exact": True}, {"request": request_id})


def revoke_a_key(walk: Walk) -> Shown:
    """A revoked key is refused within a second."""
    made = walk.cli_json("key", "create", NORTH, "--name", "demo, to be revoked")
    wait_until_usable(walk, made["key"])
    walk.cli("key", "revoke", made["id"])
    begin = time.monotonic()
    found(lambda: _status(walk, made["key"]) == 401, REVOKED_S, "the revoked key was not refused")
    took_ms = ms_since(begin)
    refusal = expect(refusal_of(walk.client_with(made["key"]).models.list), 401, "invalid_api_key")
    return Shown(digest(made["id"]), {"refused_after_ms": took_ms, "code": refusal.code}, {"key": made["id"]})
