"""From idle to idle, the engine's own counters rise by exactly what the ledger books: tenants and system together."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from inference.engines.vllm import parse_counters
from inference.pool.engine_client import EngineClient
from tests.clients.leaving import LeavingClient
from tests.system.appliance import DEMO, Appliance, until
from tests.system.conftest import Cast

pytestmark = [pytest.mark.appliance, pytest.mark.engine]
MESSAGES: Any = [{"role": "user", "content": "Tell a long story about a compiler."}]
AGREE_S = 60
NUM_MIXED = 72  # requests
IN_FLIGHT = "coderack_gateway_in_flight{"


def engine_counters(appliance: Appliance, model: str) -> tuple[int, int]:
    """Prompt and generation tokens as the engine itself counted them since it started."""
    answer = EngineClient(Path(appliance.replica(model)["socket"])).get("/metrics", timeout_s=10)
    counters = parse_counters(answer.body.decode(), time.time())
    return counters.prompt_tokens, counters.generation_tokens


def ledger_sums(appliance: Appliance, life: str) -> tuple[int, int]:
    """What the ledger booked on one engine life, all tenants and the system tenant."""
    rows = appliance.sql(
        "SELECT coalesce(sum(engine_prompt_tokens), 0)::bigint, coalesce(sum(completion_tokens), 0)::bigint"
        " FROM ledger_ledgerentry WHERE life_id = %s",
        life,
    )
    return int(rows[0][0]), int(rows[0][1])


def entries(appliance: Appliance, tenant: str) -> list[tuple[Any, ...]]:
    """A tenant's ledger rows, oldest first."""
    return appliance.sql(
        "SELECT endpoint, stream, outcome, prompt_tokens, completion_tokens, exact FROM ledger_ledgerentry"
        " WHERE tenant_id = %s ORDER BY started_at",
        tenant,
    )


def at_engines(appliance: Appliance) -> float:
    """Requests that the gateway has at engines."""
    page = appliance.request("GET", "/metrics")[2].decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(IN_FLIGHT))


def leave_after(
    appliance: Appliance, key: str, body: dict[str, Any], wait_s: float, path: str = "/v1/chat/completions"
) -> None:
    """Send a request and close the connection while the engine is still at work."""
    until(lambda: at_engines(appliance), lambda found: not found, 60)  # the one before has been aborted
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    if body.get("stream"):
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read(200)
    until(lambda: at_engines(appliance), bool, 60)
    time.sleep(wait_s)
    connection.close()


def assert_agreement(appliance: Appliance, model: str) -> None:
    """Wait until ledger and engine agree, with nothing running; canaries go on meanwhile and are booked too."""
    life = appliance.replica(model)["life"]
    both = until(
        lambda: (engine_counters(appliance, model), ledger_sums(appliance, life)),
        lambda pair: pair[0] == pair[1],
        AGREE_S,
        0.3,
    )
    assert both[0][0] > 0
    assert both[0][1] > 0


@pytest.mark.parametrize("model_name", [DEMO, "deepseek"])
def test_the_ledger_equals_the_engines_counters(
    appliance: Appliance, request: pytest.FixtureRequest, model_name: str
) -> None:
    model = request.getfixturevalue("deepseek") if model_name == "deepseek" else model_name
    tenant = f"metered-{model_name.split('-', maxsplit=1)[0]}"
    key = appliance.new_tenant(tenant)
    until(lambda: appliance.request("GET", "/v1/models", key=key)[0], lambda status: status == 200, 20)
    client = openai.OpenAI(base_url=appliance.facts["base_url"], api_key=key, max_retries=0)

    client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=9)
    list(client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=9, stream=True))
    client.completions.create(model=model, prompt="def f(x):", max_tokens=7, n=3)
    list(client.completions.create(model=model, prompt=["one", "two three"], max_tokens=5, n=2, stream=True))
    client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=4, n=2, temperature=1)
    long = {"model": model, "messages": MESSAGES, "max_tokens": 1500, "ignore_eos": True}
    leave_after(appliance, key, {**long, "stream": True}, 0.8)
    leave_after(appliance, key, long, 1.0)
    leave_after(appliance, key, {**long, "n": 2, "stream": True}, 0.8)
    leave_after(
        appliance,
        key,
        {"model": model, "prompt": ["a", "b"], "max_tokens": 1500, "ignore_eos": True},
        0.8,
        "/v1/completions",
    )

    rows = until(lambda: entries(appliance, tenant), lambda found: len(found) == 9, 60)
    assert [row[2] for row in rows] == ["completed"] * 5 + ["aborted"] * 4
    assert all(row[5] for row in rows), "every ending is exact while gateway and engine live"
    assert all(row[4] > 0 for row in rows[:5])
    assert all(0 <= row[4] < 2 * 1500 for row in rows[5:]), "on a busy machine one is left before its first token"
    assert any(row[4] > 0 for row in rows[5:])
    assert_agreement(appliance, model)


def mixed(model: str, key: str, *, fim: bool, chance: random.Random) -> list[LeavingClient]:
    """Short requests of all kinds, streamed and whole, of which a third are left: some at once, some near their end."""
    chat: dict[str, Any] = {"messages": MESSAGES}
    kinds = [("/v1/chat/completions", chat), ("/v1/chat/completions", {**chat, "n": 2, "temperature": 1})]
    kinds += [
        ("/v1/completions", {"prompt": "def f(x):"}),
        ("/v1/completions", {"prompt": "def g(", "n": 3, "temperature": 1}),
    ]
    if fim:
        kinds += [
            (path, {"prompt": "def h(", "suffix": "\n    return x"})
            for path in ("/v1/completions", "/beta/completions")
        ]
    clients = []
    for number in range(NUM_MIXED):
        path, body = kinds[number % len(kinds)]
        tokens = chance.randint(1, 24)
        body = {**body, "model": model, "max_tokens": tokens, "ignore_eos": True, "stream": chance.random() < 0.6}
        moment = chance.randint(0, tokens if body["stream"] else 300)
        clients.append(LeavingClient(key, path, body, moment if number % 3 == 0 else None))
    return clients


async def ask_all(clients: list[LeavingClient], port: int) -> None:
    """Six at a time."""
    waiting = iter(clients)

    async def one_after_another() -> None:
        for client in waiting:
            await client.run(port)

    await asyncio.gather(*[one_after_another() for _ in range(6)])


@pytest.mark.parametrize("model_name", [DEMO, "deepseek"])
def test_the_sums_agree_when_a_third_of_all_clients_leave(
    appliance: Appliance, request: pytest.FixtureRequest, model_name: str
) -> None:
    model = request.getfixturevalue("deepseek") if model_name == "deepseek" else model_name
    tenant = f"leaving-{model_name.split('-', maxsplit=1)[0]}"
    key = appliance.new_tenant(tenant)
    until(lambda: appliance.request("GET", "/v1/models", key=key)[0], lambda status: status == 200, 20)
    clients = mixed(model, key, fim=model_name == "deepseek", chance=random.Random(5))
    asyncio.run(ask_all(clients, appliance.port))
    until(lambda: at_engines(appliance), lambda num: not num, 60)
    staying = [client for client in clients if client.leaves_after is None]
    assert all(client.whole for client in staying), [bytes(one.received) for one in staying if not one.whole]
    assert_agreement(appliance, model)
    rows = entries(appliance, tenant)
    assert len(staying) < len(rows) <= len(clients), "one that left before it was admitted has no row"
    assert {row[2] for row in rows} == {"completed", "aborted"}
    assert all(row[5] for row in rows)


def test_the_sums_agree_for_a_request_that_was_left_during_its_prefill(appliance: Appliance, cast: Cast) -> None:
    before = len(entries(appliance, "beta"))
    body = {
        "model": DEMO,
        "messages": [{"role": "user", "content": "word " * 6000}],
        "max_tokens": 500,
        "ignore_eos": True,
    }
    leave_after(appliance, cast.beta, body, 0.4)
    rows = until(lambda: entries(appliance, "beta"), lambda found: len(found) > before, 60)
    assert rows[-1][2] == "aborted"
    assert_agreement(appliance, DEMO)


def test_the_system_tenant_pays_for_the_canaries(appliance: Appliance) -> None:
    def canaries() -> list[tuple[Any, ...]]:
        return [row for row in entries(appliance, "system") if row[0] == "canary"]

    assert all(row[4] <= 1 for row in until(canaries, bool, 30))
