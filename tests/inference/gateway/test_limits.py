"""Limits through a real gateway and a real Redis: who is refused, what they are told, what comes back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from inference.gateway.limits.gates import Prices
from inference.gateway.limits.scripts import CONTENT, OPEN, PREFIX
from inference.metering.journal import UsageRecord
from tests.inference.gateway.database import add_key
from tests.inference.gateway.parts import Rig
from tests.waiting import wait_until

PRICES = [1_000_000, 100_000, 2_000_000]
Answer = tuple[int, dict[str, str], bytes]


class Tenant:
    """A tenant with limits of its own and one key."""

    def __init__(self, rig: Rig, name: str, **allowance: Any) -> None:
        self.rig, self.name = rig, name
        self.limit(**allowance)

    def limit(self, tenant: dict[str, int] | None = None, key: dict[str, int] | None = None, **models: Any) -> None:
        limits = {"tenant": tenant or {}, "key": key or {}, "models": models.get("models", {}), "prices": PRICES}
        add_key(self.rig.postgres, f"sk-{self.name}", self.name, limits=limits)
        self.rig.wait_for_directory()

    @property
    def header(self) -> dict[str, str]:
        return {"authorization": f"Bearer sk-{self.name}"}

    def chat(self, orders: str = "", **fields: Any) -> Answer:
        body = {"max_tokens": 5, **self.rig.chat(orders), **fields}
        return self.rig.call("POST", "/v1/chat/completions", body, **self.header)

    def used(self, gate: str) -> int:
        found = self.rig.redis.client().hget(f"{PREFIX}t:{self.name}", gate)
        return int(found or 0)


@pytest.fixture
def tenants(rig: Rig) -> Iterator[Any]:
    made: list[str] = []

    def make(name: str, **allowance: Any) -> Tenant:
        made.append(name)
        return Tenant(rig, name, **allowance)

    yield make
    for name in made:
        rig.postgres.execute("DELETE FROM gateway_keys WHERE tenant_id = %s", name)


def at_rest(rig: Rig) -> None:
    client = rig.redis.client()
    wait_until(lambda: not client.zcard(OPEN) and not client.hlen(CONTENT))


def refusal(answer: Answer) -> tuple[int, str, str]:
    error = json.loads(answer[2])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer[0], error["code"], error["message"]


def test_every_answer_tells_what_is_left(tenants: Any) -> None:
    tenant = tenants("told", tenant={"requests_per_minute": 60, "tokens_per_minute": 10_000})
    status, headers, _ = tenant.chat()
    assert status == 200
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "59"
    assert headers["x-ratelimit-limit-tokens"] == "10000"
    assert 9_000 < int(headers["x-ratelimit-remaining-tokens"]) < 10_000
    assert headers["x-ratelimit-reset-requests"].endswith(("ms", "s"))
    assert headers["x-ratelimit-reset-tokens"].endswith("s")
    streamed = tenant.chat("tokens=2", stream=True)
    assert streamed[1]["x-ratelimit-remaining-requests"] == "58"
    failed = tenant.chat("status=500")
    assert failed[0] >= 500
    assert failed[1]["x-ratelimit-limit-requests"] == "60"


def test_requests_over_the_rate_are_told_when_to_come_again(tenants: Any) -> None:
    tenant = tenants("fast", tenant={"requests_per_minute": 3})
    answers = [tenant.chat() for _ in range(4)]
    assert [answer[0] for answer in answers] == [200, 200, 200, 429]
    status, code, message = refusal(answers[3])
    assert (status, code) == (429, "rate_limit_exceeded")
    assert "3 requests per minute" in message
    assert 0 < int(answers[3][1]["retry-after"]) <= 20
    assert 0 < int(answers[3][1]["retry-after-ms"]) <= 20_000
    assert answers[3][1]["x-ratelimit-remaining-requests"] == "0"


def test_the_bill_replaces_the_reservation_in_every_ending(rig: Rig, tenants: Any) -> None:
    tenant = tenants("billed", tenant={"tokens_per_day": 1_000_000, "spend_micros": 10**9, "concurrency": 50})
    whole = tenant.chat("tokens=5")
    streamed = tenant.chat("tokens=5", stream=True)
    tenant.chat("status=500")
    tenant.chat("die=2 tokens=5", stream=True)
    with contextlib.closing(rig.connect()) as connection:
        connection.request(
            "POST", "/v1/chat/completions",
            json.dumps({**rig.chat("tokens=500 delay=0.01"), "stream": True, "max_tokens": 500}), tenant.header,
        )  # fmt: skip
        connection.getresponse().read(20)
    at_rest(rig)

    def booked() -> list[UsageRecord]:
        return [record for record in rig.records() if record.tenant_id == "billed"]

    wait_until(lambda: "aborted" in {record.outcome for record in booked()})
    records = booked()
    assert {whole[1]["x-request-id"], streamed[1]["x-request-id"]} <= {record.request_id for record in records}
    tokens = sum(record.prompt_tokens + record.completion_tokens for record in records)
    assert tokens > 20
    assert tenant.used("d") == tokens
    spent = sum(Prices(*PRICES).cost(one.prompt_tokens, one.cached_tokens, one.completion_tokens) for one in records)
    assert tenant.used("s") == spent
    assert rig.redis.client().hget(f"{PREFIX}t:billed", "c") == b"0"


def test_refused_requests_cost_nothing(rig: Rig, tenants: Any) -> None:
    tenant = tenants("refused", tenant={"tokens_per_day": 1_000_000, "requests_per_minute": 60})
    assert tenant.chat(model="nobody")[0] == 404
    assert tenant.chat(model="deepseek-away")[0] == 503
    assert tenant.chat(max_tokens=-1)[0] == 400
    at_rest(rig)
    assert tenant.used("d") == 0


def test_many_at_once_stay_within_concurrency(rig: Rig, tenants: Any) -> None:
    tenant = tenants("crowd", tenant={"concurrency": 5})
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: tenant.chat("tokens=5 delay=0.6"), range(32)))
    statuses = [answer[0] for answer in answers]
    assert statuses.count(200) == 5
    assert statuses.count(429) == 27
    assert all("5 requests at once" in refusal(answer)[2] for answer in answers if answer[0] == 429)
    at_rest(rig)
    assert tenant.chat()[0] == 200


def test_a_budget_that_is_used_up_is_not_tried_again(tenants: Any) -> None:
    tenant = tenants("poor", tenant={"spend_micros": 60})
    assert tenant.chat(max_tokens=20)[0] == 429
    first = tenant.chat(max_tokens=1)
    assert first[0] == 429 or first[0] == 200
    status, code, message = refusal(tenant.chat(max_tokens=200))
    assert (status, code) == (429, "insufficient_quota")
    assert "budget" in message
    assert tenant.chat(max_tokens=200)[1]["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/completions", 429),
        ("/completions", 402),
        ("/completions/", 402),
        ("/beta/completions", 402),
        ("/v1/beta/completions", 402),
    ],
)
def test_a_budget_that_is_used_up_is_402_where_deepseeks_clients_ask(
    rig: Rig, tenants: Any, path: str, expected: int
) -> None:
    tenant = tenants("penniless", tenant={"spend_micros": 1})
    asked = {"model": "deepseek-fake", "prompt": "tokens=200", "max_tokens": 200}
    answer = rig.call("POST", path, asked, **tenant.header)
    assert answer[0] == expected
    assert refusal(answer)[1] == "insufficient_quota"
    assert answer[1]["x-should-retry"] == "false"


def test_a_request_over_the_limit_itself_is_told_so(tenants: Any) -> None:
    tenant = tenants("tight", tenant={"tokens_per_minute": 100})
    answer = tenant.chat(max_tokens=100)
    status, code, message = refusal(answer)
    assert (status, code) == (429, "rate_limit_exceeded")
    assert "max_tokens" in message
    assert answer[1]["x-should-retry"] == "false"


def test_a_key_and_a_model_have_limits_of_their_own(tenants: Any) -> None:
    keyed = tenants("keyed", tenant={"requests_per_minute": 100}, key={"requests_per_minute": 1})
    assert [keyed.chat()[0] for _ in range(2)] == [200, 429]
    assert "The key's limit" in refusal(keyed.chat())[2]
    modelled = tenants("modelled", models={"deepseek-fake": {"requests_per_minute": 1}})
    assert [modelled.chat()[0] for _ in range(2)] == [200, 429]
    assert modelled.chat(model="deepseek-fim")[0] == 200


def test_a_key_and_its_batches_together_never_exceed_the_keys_limits(rig: Rig, tenants: Any) -> None:
    budget = 400
    tenant = tenants("together", key={"spend_micros": budget, "requests_per_minute": 1000})
    of_key = {
        "tenant": {},
        "key": {"spend_micros": budget, "requests_per_minute": 1000},
        "models": {},
        "prices": PRICES,
    }
    add_key(rig.postgres, "sk-nightly", "together", limits=of_key, lane="batch", limits_of="sk-together")
    rig.wait_for_directory()
    prompts = {"authorization": "Bearer sk-nightly"}, tenant.header

    def ask(number: int) -> int:
        return rig.call("POST", "/v1/chat/completions", {"max_tokens": 5, **rig.chat()}, **prompts[number % 2])[0]

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(ask, range(64)))
    assert set(statuses) == {200, 429}
    at_rest(rig)
    counter = f"{PREFIX}k:key-sk-together"
    assert 0 < int(rig.redis.client().hget(counter, "s") or 0) <= budget
    assert not list(rig.redis.client().scan_iter(f"{PREFIX}k:key-sk-nightly*"))
    records = [record for record in rig.records() if record.tenant_id == "together"]
    spent = [Prices(*PRICES).cost(one.prompt_tokens, one.cached_tokens, one.completion_tokens) for one in records]
    assert len({one.key_id for one in records}) == 2
    assert sum(spent) <= budget


def test_one_tenants_limit_is_not_anothers(tenants: Any) -> None:
    first = tenants("first", tenant={"requests_per_minute": 1})
    second = tenants("second", tenant={"requests_per_minute": 1})
    assert [first.chat()[0], first.chat()[0], second.chat()[0]] == [200, 429, 200]


def test_without_redis_every_worker_keeps_to_its_share(rig: Rig, tenants: Any) -> None:
    tenant = tenants("alone", tenant={"concurrency": 8})
    before = rig.figure("coderack_gateway_limits_local_total")
    rig.redis.stop()
    try:
        with ThreadPoolExecutor(32) as pool:
            statuses = [answer[0] for answer in pool.map(lambda _: tenant.chat("tokens=5 delay=0.2"), range(32))]
        assert set(statuses) == {200, 429}
        assert 4 <= statuses.count(200) <= 8
        assert rig.figure("coderack_gateway_limits_local_total") >= before + 32
    finally:
        rig.redis.start()

    def in_redis() -> bool:
        local = rig.figure("coderack_gateway_limits_local_total")
        return all(tenant.chat()[0] == 200 for _ in range(4)) and local == rig.figure(
            "coderack_gateway_limits_local_total"
        )

    wait_until(in_redis)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ({"concurrency": 1}, "The key's limit of 1 requests at once"),
        ({"tokens_per_minute": 30}, "The key's limit of 30 tokens per minute"),
        ({"tokens_per_day": 30}, "The key's limit of 30 tokens per day"),
        ({"tokens_per_month": 30}, "The key's limit of 30 tokens per month"),
        ({"spend_micros": 1}, "The key's budget of this month"),
    ],
)
def test_a_key_is_kept_to_each_limit_of_its_own(rig: Rig, tenants: Any, key: dict[str, int], says: str) -> None:
    tenant = tenants("of-key", tenant={"concurrency": 50, "tokens_per_day": 10**9}, key=key)

    def two_at_once() -> list[Answer] | None:
        """Their answers; None where a worker found Redis too slow and decided alone, as the other one may have."""
        before = rig.figure("coderack_gateway_limits_local_total")
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: tenant.chat("tokens=5 delay=0.3", max_tokens=5), range(2)))
        return answers if rig.figure("coderack_gateway_limits_local_total") == before else None

    answers: list[Answer] = wait_until(two_at_once)
    refused = [answer for answer in answers if answer[0] == 429]
    assert refused
    assert all(says in refusal(answer)[2] for answer in refused)
    at_rest(rig)
    rig.redis.client().delete(f"{PREFIX}k:key-sk-of-key")


def test_a_key_may_ask_for_the_names_on_its_list_only(rig: Rig) -> None:
    add_key(rig.postgres, "sk-listed", "listed", names=["deepseek-fim"])
    rig.wait_for_directory()
    header = {"authorization": "Bearer sk-listed"}
    listed = json.loads(rig.call("GET", "/v1/models", **header)[2])["data"]
    assert [model["id"] for model in listed] == ["deepseek-fim"]
    unknown = rig.call("POST", "/v1/chat/completions", rig.chat(model="no-such-model"), **header)
    outside = rig.call("POST", "/v1/chat/completions", rig.chat(model="deepseek-fake"), **header)
    assert unknown[0] == outside[0] == 404
    assert unknown[2] == outside[2]
    assert rig.call("GET", "/v1/models/deepseek-fake", **header)[0] == 404
    assert rig.call("GET", "/v1/models/deepseek-fim", **header)[0] == 200
    assert rig.call("POST", "/v1/chat/completions", rig.chat(model="deepseek-fim"), **header)[0] == 200
    rig.postgres.execute("DELETE FROM gateway_keys WHERE tenant_id = 'listed'")
