"""A share of a name's requests goes to its next version: so many, and of a conversation all or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.canary import version_for
from inference.gateway.directory import Canary, Directory, Key, Model, Replica, Snapshot
from tests.fakes.engine import FakeEngine
from tests.inference.gateway.parts import Rig
from tests.waiting import wait_until

KEY = Key("k", "t", 9, 9, None, None)
OLD = Model("m", "x", 0, 9, Path("/old"), False, None, "m")
NEW = replace(OLD, version="new", path=Path("/new"))
MODEL = "deepseek-fake"
texts = st.text(max_size=20)


def directory(share: int, *, ready: bool = True) -> Directory:
    replicas = {NEW.served_at: (Replica("r", "l", NEW.served_at, "/s"),)} if ready else {}
    return Directory(Snapshot(1, models={"m": OLD}, replicas=replicas, canaries={"m": Canary(NEW, share)}))


def chat(*said: str) -> dict[str, object]:
    roles = ["system", "user", "assistant", "user", "assistant"]
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]}


@given(texts, texts, st.lists(texts, max_size=3), st.integers(0, 50))
def test_a_conversation_stays_where_it_began(system: str, first: str, more: list[str], share: int) -> None:
    found = directory(share)
    began = version_for(OLD, KEY, chat(system, first), found)
    assert version_for(OLD, KEY, chat(system, first, *more), found) is began


@pytest.mark.parametrize("share", [0, 5, 50])
def test_it_gets_its_share_of_conversations_and_of_prompts(share: int) -> None:
    found = directory(share)
    for ask in (
        lambda n: chat("You help.", f"question {n}"),
        lambda n: {"prompt": f"file {n}"},
        lambda n: {"prompt": [n, n]},
    ):
        num = sum(version_for(OLD, KEY, ask(number), found) is NEW for number in range(4000))
        assert abs(num / 4000 - share / 100) < 0.03


def test_without_a_ready_replica_it_gets_nothing() -> None:
    found = directory(50, ready=False)
    assert {version_for(OLD, KEY, {"prompt": str(n)}, found) for n in range(50)} == {OLD}


@pytest.fixture
def canary(rig: Rig) -> Iterator[FakeEngine]:
    """A second version of a model with half of its requests."""
    engine = rig.start_engine("canary", MODEL)
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE replica_id = 'canary'")
    path = str(rig.root / "model")
    rig.postgres.execute("INSERT INTO gateway_canaries VALUES (%s, 'v2', 50, 4096, %s, false)", MODEL, path)
    rig.postgres.execute(
        "INSERT INTO gateway_canary_replicas VALUES ('canary', 'life-canary', %s, 'v2', %s, NULL)",
        MODEL,
        str(engine.socket),
    )
    rig.wait_for_directory()
    yield engine
    rig.postgres.execute("DELETE FROM gateway_canaries")
    rig.postgres.execute("DELETE FROM gateway_canary_replicas")
    rig.wait_for_directory()
    engine.stop()


def test_both_versions_answer_to_the_name_and_the_journal_tells_which(rig: Rig, canary: FakeEngine) -> None:
    def ask(number: int) -> tuple[str, bool]:
        before = len(canary.bodies)
        status, headers, _ = rig.call(
            "POST", "/v1/chat/completions", {**rig.chat(f"tokens=1 q{number}"), "max_tokens": 2}
        )
        assert status == 200
        return headers["x-request-id"], len(canary.bodies) > before

    asked = [ask(number) for number in range(24)]
    by_canary = {request for request, canarys in asked if canarys}
    assert 0 < len(by_canary) < 24
    assert [canarys for _, canarys in asked] == [ask(number)[1] for number in range(24)]
    assert {one["model"] for one in canary.bodies} == {MODEL}

    def booked() -> bool:
        lives = {one.request_id: one.life_id for one in rig.records()}
        return all((lives.get(request) == "life-canary") == canarys for request, canarys in asked)

    wait_until(booked)
    rig.postgres.execute("DELETE FROM gateway_canaries")
    rig.wait_for_directory()
    num = len(canary.bodies)
    assert not any(ask(number)[1] for number in range(24))
    assert len(canary.bodies) == num
