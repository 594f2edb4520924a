"""The load generator against a gateway over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ops.acceptance.load import Gateway, Loaded, put_on
from ops.acceptance.measure import measure
from ops.acceptance.workload import Workload
from tests.ops.acceptance.gateway import Behaviour, FakeGateway

WORK = Workload("tiny", 40, 10, 3, 1.0, 0.3, 7)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    made = FakeGateway(Behaviour())
    yield made
    made.close()


def load(gateway: FakeGateway, **changed: Any) -> Loaded:
    return put_on(Gateway("127.0.0.1", gateway.port, "a key"), replace(WORK, **changed), lambda number: f"# {number}")


def test_every_request_is_seen_whole_and_counted_once(gateway: FakeGateway) -> None:
    loaded = load(gateway)
    assert len(loaded.requests) == gateway.behaviour.num_requests
    assert {(r.status, r.error, r.events, r.completion_tokens, r.prompt_tokens) for r in loaded.requests} == {
        (200, "", 10, 10, 40)
    }
    assert len({r.request_id for r in loaded.requests}) == len(loaded.requests)
    assert len({body["prompt"] for body in gateway.behaviour.bodies}) == len(loaded.requests)
    assert {body["max_tokens"] for body in gateway.behaviour.bodies} == {10}
    assert all(body["ignore_eos"] for body in gateway.behaviour.bodies)


def test_the_rates_are_those_of_the_gateway(gateway: FakeGateway) -> None:
    gateway.behaviour.token_s = 0.02
    loaded = load(gateway)
    figures = measure(loaded.requests, loaded.window_s, loaded.cpu_share)
    assert figures.window_s == 1.0
    assert 10 < figures.output_tps < 151, "three streams of at most 50 tokens/s"
    assert figures.input_tps == pytest.approx(4 * figures.output_tps, rel=0.5)
    assert 10 <= figures.tpot.p50_ms < 200


def test_the_time_to_the_first_token_does_not_end_with_a_comment(gateway: FakeGateway) -> None:
    gateway.behaviour.begin, gateway.behaviour.first_s = b": keep-alive\n\n", 0.2
    loaded = load(gateway)
    assert min(r.ttft_s or 0 for r in loaded.requests) >= 0.2
    assert {r.events for r in loaded.requests} == {10}


def test_what_began_inside_the_window_is_waited_for(gateway: FakeGateway) -> None:
    gateway.behaviour.token_s = 0.1
    loaded = load(gateway, concurrency=1, duration_s=2.0)
    begin, end = loaded.window_s
    inside = [r for r in loaded.requests if begin <= r.began_s < end]
    assert inside
    assert all(r.succeeded for r in inside)
    assert max(r.ended_s for r in inside) > end
    for request in inside:
        if request.ended_s - end > 0.3:
            assert request.events_in_window < request.events, "what came after the window is not counted"
        if end - request.began_s > 0.3:
            assert request.events_in_window > 0


def test_a_refused_request_fails_and_is_not_tried_again(gateway: FakeGateway) -> None:
    gateway.behaviour.fail_each = 4
    loaded = load(gateway)
    failed = [r for r in loaded.requests if not r.succeeded]
    assert len(loaded.requests) == gateway.behaviour.num_requests
    assert failed
    assert all(r.status == 503 and "no engine" in r.error and r.completion_tokens == 0 for r in failed)


def test_a_stream_without_usage_is_a_failed_request(gateway: FakeGateway) -> None:
    gateway.behaviour.drop_usage = True
    assert {r.error[:30] for r in load(gateway, concurrency=1).requests} == {"the stream ended without usage"}


def test_a_gateway_that_is_gone_ends_the_load_early() -> None:
    gone = FakeGateway(Behaviour())
    gone.close()
    loaded = load(gone, concurrency=30, duration_s=60.0)
    begin, end = loaded.window_s
    assert end - begin < 60.0
    assert len(loaded.requests) >= 30
    assert not any(r.succeeded for r in loaded.requests)
