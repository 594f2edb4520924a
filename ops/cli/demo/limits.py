"""A key's rate limit: as many requests as it says, then the documented refusal with the time to wait."""

from __future__ import annotations

import openai

from ops.cli.demo.cast import NORTH
from ops.cli.demo.tenancy import wait_until_usable
from ops.cli.demo.walk import Shown, StepFailed, Walk, digest, ledger

REQUESTS = 2
PROMPT = "def area(width, height):"


def keep_a_rate(walk: Walk) -> Shown:
    """A key for two requests a minute: both are answered, with what is left, and the third is refused."""
    made = walk.cli_json("key", "create", NORTH, "--name", "demo, a slow one", "--requests-per-minute", str(REQUESTS))
    wait_until_usable(walk, made["key"])
    client = walk.client_with(made["key"])
    answered: list[str] = []
    for left in reversed(range(REQUESTS)):
        raw = client.completions.with_raw_response.create(model=walk.model, prompt=PROMPT, max_tokens=4)
        told = raw.headers.get("x-ratelimit-remaining-requests")
        if told != str(left):
            raise StepFailed(f"{left} requests are left, and the answer says {told}")
        answered.append(raw.headers["x-request-id"])
    try:
        client.completions.create(model=walk.model, prompt=PROMPT, max_tokens=4)
    except openai.RateLimitError as error:
        refused = error
    else:
        raise StepFailed("a third request within the minute was answered")
    wait_s = int(refused.response.headers["retry-after"])
    if refused.code != "rate_limit_exceeded" or not 0 < wait_s <= 60:
        raise StepFailed(f"refused with {refused.code}, to be tried again after {wait_s} s")
    rows = [ledger(request_id) for request_id in answered]
    measured = {"answered": len(rows), "status": 429, "code": refused.code, "retry_after_s": wait_s}
    request_id = refused.response.headers.get("x-request-id", "")
    return Shown(digest(made["id"]), measured, {"key": made["id"], "answered": answered, "request": request_id})
