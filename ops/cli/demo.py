"""`coderack demo`: walks through what the appliance can do so far, measures each step, and ends with PASS or the reason.

Each step asks the running appliance as a tenant or an operator would and checks the answer against the ledger. It works with
a tenant of its own, which it removes at the end, so that it can run again.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import typer

from appliance.env import Env, load
from appliance.login import write_private
from ops.cli.database import rows
from ops.cli.printing import Exit, fail, out
from ops.runner.runner import runner_pid

TENANT = "demo-walk"
PROMPT = "Write a Python function that adds two numbers."
LEDGER_S = 15.0


class StepFailed(Exception):
    """A step did not show what it should; the message says what came instead."""


@dataclass(frozen=True)
class Step:
    """What one step measured and the ids that prove it."""

    name: str
    input_digest: str
    measured: dict[str, Any]
    evidence: dict[str, str] = field(default_factory=dict)


@dataclass
class Walk:
    """The demo's state: the appliance, the tenant's key, the model asked."""

    env: Env
    key: str = ""
    key_id: str = ""
    model: str = ""

    def chat(self, max_tokens: int, leave_after_bytes: int | None = None) -> tuple[int, str, bytes]:
        """A streamed chat; with `leave_after_bytes` the client closes early. Returns status, request id and body."""
        host = "127.0.0.1" if self.env.host == "0.0.0.0" else self.env.host  # noqa: S104 - compared, not bound
        connection = http.client.HTTPConnection(host, self.env.port, timeout=120)
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": max_tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            connection.request(
                "POST",
                "/v1/chat/completions",
                json.dumps(body),
                {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            text = answer.read() if leave_after_bytes is None else answer.read(leave_after_bytes)
            return answer.status, answer.getheader("x-request-id", ""), text
        finally:
            connection.close()


def demo() -> None:
    """Walk through the appliance's life with real requests; it must be running."""
    env = load()
    if runner_pid(env.run_dir) is None and env.database_url is None:
        raise fail("the appliance is not running: `make start` first", Exit.NOT_RUNNING)
    walk = Walk(env)
    done: list[Step] = []
    with rows():
        _clean_up()
        try:
            for action in (create_tenant, stream_a_chat, leave_a_stream, revoke_the_key):
                step = action(walk)
                done.append(step)
                out.print(f"  ok  {step.name}: {json.dumps(step.measured)}", markup=False)
        except (StepFailed, OSError) as error:
            raise fail(f"FAIL {action.__name__.replace('_', ' ')}: {error} (logs: {env.log_dir})") from None
        finally:
            _clean_up()
    report = env.data_dir / "demo" / "report.json"
    report.parent.mkdir(exist_ok=True)
    write_private(report, {"finished_at": time.time(), "steps": [asdict(step) for step in done]})
    typer.echo(f"PASS  {report}")


def create_tenant(walk: Walk) -> Step:
    """A tenant, its key, and the model it will ask."""
    from appliance.first_rows import ensure_base  # noqa: PLC0415
    from appliance.fleet.models import Replica  # noqa: PLC0415 - after Django's setup
    from appliance.tenants.keys import mint  # noqa: PLC0415
    from appliance.tenants.models import Tenant  # noqa: PLC0415

    ready = Replica.objects.filter(state="ready").select_related("deployment__model").first()
    if ready is None:
        raise StepFailed("no replica is ready; `coderack status` says why")
    walk.model = ready.deployment.model.name
    tenant = Tenant.objects.create(id=TENANT, name="Demo walk", plan=ensure_base())
    row, walk.key = mint(tenant, "demo walk")
    walk.key_id = str(row.id)
    begin = time.monotonic()
    _until(lambda: walk.chat(1)[0] == 200, 5, "the gateway did not take the new key")
    return Step(
        "tenant and key", _digest(TENANT), {"usable_after_ms": _ms(begin), "model": walk.model}, {"key": walk.key_id}
    )


def stream_a_chat(walk: Walk) -> Step:
    """A whole stream whose usage is the ledger's."""
    begin = time.monotonic()
    status, request_id, text = walk.chat(32)
    took = _ms(begin)
    events = [json.loads(line[6:]) for line in text.split(b"\n") if line.startswith(b"data: {")]
    if status != 200 or not text.rstrip().endswith(b"data: [DONE]"):
        raise StepFailed(f"the answer was {status}: {text[-200:].decode(errors='replace')}")
    usage = events[-1]["usage"]
    booked = _ledger(request_id)
    if (booked.prompt_tokens, booked.completion_tokens) != (usage["prompt_tokens"], usage["completion_tokens"]):
        raise StepFailed(
            f"the client was told {usage} and the ledger holds {booked.prompt_tokens}, {booked.completion_tokens}"
        )
    measured = {"input_tokens": booked.prompt_tokens, "output_tokens": booked.completion_tokens, "took_ms": took}
    return Step("streamed chat", _digest(PROMPT), measured | {"ttft_ms": booked.ttft_ms}, {"request": request_id})


def leave_a_stream(walk: Walk) -> Step:
    """A client that leaves is billed for what was generated, and no more."""
    _, request_id, _ = walk.chat(2000, leave_after_bytes=600)
    booked = _ledger(request_id)
    if booked.outcome != "aborted" or not booked.exact or not 0 < booked.completion_tokens < 2000:
        raise StepFailed(f"booked as {booked.outcome}, {booked.completion_tokens} tokens, exact: {booked.exact}")
    return Step(
        "client leaves",
        _digest(PROMPT),
        {"output_tokens": booked.completion_tokens, "exact": True},
        {"request": request_id},
    )


def revoke_the_key(walk: Walk) -> Step:
    """A revoked key is refused within a second."""
    from appliance.tenants.keys import revoke  # noqa: PLC0415
    from appliance.tenants.models import ApiKey  # noqa: PLC0415

    revoke(ApiKey.objects.get(id=walk.key_id))
    begin = time.monotonic()
    _until(lambda: walk.chat(1)[0] == 401, 1, "the revoked key still works after a second")
    return Step("revoked key", _digest(walk.key_id), {"refused_after_ms": _ms(begin)}, {"key": walk.key_id})


def _ledger(request_id: str) -> Any:
    from appliance.ledger.models import LedgerEntry  # noqa: PLC0415

    found: list[Any] = []

    def look() -> bool:
        found[:] = LedgerEntry.objects.filter(request_id=request_id)
        return bool(found)

    _until(look, LEDGER_S, f"request {request_id} did not reach the ledger")
    return found[0]


def _clean_up() -> None:
    from appliance.tenants.models import Tenant  # noqa: PLC0415

    Tenant.objects.filter(id=TENANT).delete()


def _until(good: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not good():
        if time.monotonic() > deadline:
            raise StepFailed(otherwise)
        time.sleep(0.05)


def _ms(begin: float) -> int:
    return round((time.monotonic() - begin) * 1000)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
