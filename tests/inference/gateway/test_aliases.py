"""A tenant's own names for models through the gateway: what they stand for, a canary's share, and nobody else's business."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.batches.answers import answered
from appliance.batches.client import Gateway
from inference.gateway.canary import target_for
from inference.gateway.directory import Alias, Canary, Directory, Key, Model, Replica, Snapshot
from tests.inference.gateway.database import add_key, add_model, digest
from tests.inference.gateway.parts import KEY, OTHER_KEY, Rig
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
BASE, FIM_BASE = "deepseek-aliased", "deepseek-fim"
OLD, NEW = f"ft:{BASE}:owner:old:000001", f"ft:{BASE}:owner:new:000002"
FIM_OWN, THEIRS = f"ft:{FIM_BASE}:owner:fim:000003", f"ft:{BASE}:stranger:own:000004"
NAME, PLAIN, FILLS, AWAY, CHANGING = "editors", "team/plain", "fills", "gone-one", "changing"
BASE_KEY, NEW_KEY, BATCH_KEY = "sk-alias-base", "sk-alias-new", "sk-alias-batch"
texts = st.text(max_size=20)

ACME = Key("k", "acme", 9, 9, None, None)
FIRST = Model("ft:m:acme:a:1", "acme", 0, 9, Path("/m"), False, "acme", "m")
SECOND = replace(FIRST, name="ft:m:acme:b:2")


def of_share(share: int, *, ready: bool = True) -> tuple[Alias, Directory]:
    alias = Alias("editors", "acme", 1, FIRST.name, FIRST, Canary(SECOND, share))
    replicas = {SECOND.name: (Replica("r", "l", SECOND.name, "/s"),)} if ready else {}
    return alias, Directory(Snapshot(1, replicas=replicas, aliases={("acme", "editors"): alias}))


def chat(*said: str) -> dict[str, object]:
    roles = ["system", "user", "assistant", "user", "assistant"]
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]}


@given(texts, texts, st.lists(texts, max_size=3), st.integers(1, 50))
def test_a_conversation_stays_with_its_model(system: str, first: str, more: list[str], share: int) -> None:
    alias, found = of_share(share)
    began = target_for(alias, FIRST, ACME, chat(system, first), found)
    assert target_for(alias, FIRST, ACME, chat(system, first, *more), found) is began


@pytest.mark.parametrize("share", [1, 20, 50])
def test_every_key_gives_the_canary_its_share_of_conversations(share: int) -> None:
    alias, found = of_share(share)
    for number in range(5):
        key = replace(ACME, key_id=f"key {number}")
        drawn = Counter(target_for(alias, FIRST, key, chat("You help.", f"q{n}"), found).name for n in range(3000))
        assert abs(drawn[SECOND.name] / 3000 - share / 100) < 0.04  # over four standard deviations of a half


def test_a_canary_that_is_not_ready_or_not_in_the_plan_gets_nothing() -> None:
    alias, away = of_share(50, ready=False)
    narrow = replace(ACME, allowed_models=frozenset({FIRST.name}))
    for key, found in ((ACME, away), (narrow, of_share(50)[1])):
        assert {target_for(alias, FIRST, key, {"prompt": str(n)}, found) for n in range(50)} == {FIRST}


@pytest.fixture(scope="module", autouse=True)
def aliases(rig: Rig) -> Iterator[None]:
    """A base with two adapters of the owner, one of the stranger, and the owner's names for them."""
    path = str(rig.root / "model")
    add_model(rig.postgres, BASE, path)
    for name, base, tenant in (
        (OLD, BASE, "owner"), (NEW, BASE, "owner"), (FIM_OWN, FIM_BASE, "owner"), (THEIRS, BASE, "stranger"),
    ):  # fmt: skip
        add_model(rig.postgres, name, path, fim=base == FIM_BASE, tenant=tenant, base=base)
    engine = rig.start_engine("aliased", BASE, knows_names=True)
    for name in (OLD, NEW, THEIRS):
        engine.adapters[name] = f"/adapters/{name}"
        rig.add_replica("aliased", name)
    rig.add_replica("fim", FIM_OWN)
    for name, to, canary, share in (
        (NAME, OLD, NEW, 50), (PLAIN, BASE, "", 0), (FILLS, FIM_OWN, "", 0), (AWAY, "ft:x:owner:y:1", OLD, 20),
        ("stolen", THEIRS, "", 0),
    ):  # fmt: skip
        set_alias(rig, name, to, canary, share)
    add_key(rig.postgres, BASE_KEY, "owner", allowed=[FIM_BASE])
    add_key(rig.postgres, NEW_KEY, "owner", allowed=[OLD])
    add_key(rig.postgres, BATCH_KEY, "owner", lane="batch")
    rig.wait_for_directory()
    yield
    rig.postgres.execute("DELETE FROM gateway_aliases")
    rig.postgres.execute("DELETE FROM gateway_models WHERE base = %s OR tenant_id IS NOT NULL", BASE)
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE model LIKE 'ft:%%' OR model = %s", BASE)
    rig.wait_for_directory()
    rig.engines["aliased"].stop()


def set_alias(rig: Rig, name: str, to: str, canary: str = "", share: int = 0) -> None:
    rig.postgres.execute("DELETE FROM gateway_aliases WHERE name = %s", name)
    rig.postgres.execute("INSERT INTO gateway_aliases VALUES ('owner', %s, 7, %s, %s, %s)", name, to, canary, share)


def ask(rig: Rig, name: str, said: str = "tokens=1", key: str = KEY, **more: Any) -> tuple[int, str, dict[str, Any]]:
    """Status, request id and answer of a chat request."""
    status, headers, body = rig.call("POST", CHAT, rig.chat(said, model=name, **more), authorization=f"Bearer {key}")
    return status, headers["x-request-id"], json.loads(body)


def models_of(rig: Rig, key: str = KEY) -> dict[str, dict[str, Any]]:
    answer = json.loads(rig.call("GET", "/v1/models", authorization=f"Bearer {key}")[2])
    return {model["id"]: model for model in answer["data"]}


def test_it_answers_with_its_model_and_books_that(rig: Rig) -> None:
    status, request_id, answer = ask(rig, PLAIN, "tokens=2")
    assert (status, answer["model"]) == (200, BASE)
    assert rig.engines["aliased"].bodies[-1]["model"] == BASE
    assert rig.record(request_id).model == BASE


def test_half_of_the_conversations_go_to_the_canary_and_stay_there(rig: Rig) -> None:
    asked = [ask(rig, NAME, f"tokens=1 q{number}") for number in range(24)]
    again = [ask(rig, NAME, f"tokens=1 q{number}")[2]["model"] for number in range(24)]
    answered_by = [answer["model"] for _, _, answer in asked]
    assert {OLD, NEW} == set(answered_by)
    assert answered_by == again

    def booked() -> bool:
        models = {one.request_id: one.model for one in rig.records()}
        return [models.get(request_id) for _, request_id, _ in asked] == answered_by

    wait_until(booked)


def test_a_stream_tells_the_model_that_answers(rig: Rig) -> None:
    body = rig.call("POST", CHAT, rig.chat("tokens=2", model=PLAIN, stream=True))[2]
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
    assert {event["model"] for event in events} == {BASE}


def test_it_stands_for_another_model_within_a_second(rig: Rig) -> None:
    set_alias(rig, CHANGING, OLD, NEW, 50)
    rig.wait_for_directory()
    assert {ask(rig, CHANGING, f"tokens=1 c{number}")[2]["model"] for number in range(16)} == {OLD, NEW}
    set_alias(rig, CHANGING, NEW)
    rig.wait_for_directory()
    assert {ask(rig, CHANGING, f"tokens=1 c{number}")[2]["model"] for number in range(16)} == {NEW}
    rig.postgres.execute("DELETE FROM gateway_aliases WHERE name = %s", CHANGING)
    rig.wait_for_directory()
    assert ask(rig, CHANGING)[0] == 404


def test_it_is_listed_and_shown_under_its_name(rig: Rig) -> None:
    listed = models_of(rig)
    shown = {"id": NAME, "object": "model", "created": 7, "owned_by": "owner", "max_model_len": 4096}
    assert listed[NAME] == shown
    assert {PLAIN, FILLS} <= set(listed)
    assert not {AWAY, "stolen"} & set(listed)
    assert json.loads(rig.call("GET", f"/v1/models/{NAME}")[2]) == shown
    assert json.loads(rig.call("GET", f"/v1/models/{PLAIN}")[2])["id"] == PLAIN


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", CHAT, {"messages": [{"role": "user", "content": "x"}]}),
        ("POST", "/beta/completions", {"prompt": "x", "suffix": "y"}),
        ("GET", "/v1/models/", None),
    ],
)
@pytest.mark.parametrize("name", [NAME, PLAIN, AWAY])
def test_anothers_alias_is_as_unknown_as_a_name_of_nothing(
    rig: Rig, method: str, path: str, body: dict[str, Any] | None, name: str
) -> None:
    answers = []
    for asked in (name, "nothing-at-all"):
        sent = None if body is None else {"model": asked, **body}
        where = path + (asked if body is None else "")
        status, headers, answer = rig.call(method, where, sent, authorization=f"Bearer {OTHER_KEY}")
        answers.append((status, {key for key in headers if key != "date"}, answer))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert name not in models_of(rig, OTHER_KEY)


def test_an_alias_opens_no_other_tenants_adapter(rig: Rig) -> None:
    status, _, answer = ask(rig, "stolen")
    assert (status, answer["error"]["code"]) == (404, "model_not_found")


def test_without_its_model_the_error_says_what_it_stood_for(rig: Rig) -> None:
    status, _, answer = ask(rig, AWAY)
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (404, "model_not_found", "model")
    assert AWAY in answer["error"]["message"]
    assert "ft:x:owner:y:1" in answer["error"]["message"]


def test_a_keys_plan_is_asked_about_the_model_behind_it(rig: Rig) -> None:
    status, _, answer = ask(rig, NAME, key=BASE_KEY)
    assert (status, answer["error"]["code"]) == (403, "model_not_allowed")
    assert set(models_of(rig, BASE_KEY)) & {NAME, PLAIN, FILLS} == {FILLS}
    assert {ask(rig, NAME, f"tokens=1 k{number}", NEW_KEY)[2]["model"] for number in range(12)} == {OLD}


def test_a_model_of_the_same_name_goes_first(rig: Rig) -> None:
    set_alias(rig, BASE, OLD)
    rig.wait_for_directory()
    assert ask(rig, BASE)[2]["model"] == BASE
    assert models_of(rig)[BASE]["owned_by"] == "coderack"


def test_it_fills_in_the_middle(rig: Rig) -> None:
    request = {"model": FILLS, "prompt": "def f():", "suffix": "return 1"}
    assert rig.call("POST", "/v1/completions", request)[0] == 200
    sent = rig.engines["fim"].bodies[-1]
    assert (sent["model"], "fim\u2581hole" in sent["prompt"]) == (FIM_OWN, True)
    status, _, answer = rig.call("POST", "/v1/completions", {**request, "model": PLAIN})
    assert (status, json.loads(answer)["error"]["param"]) == (400, "suffix")


def test_a_batch_may_name_it(rig: Rig) -> None:
    async def work() -> Any:
        async with Gateway(f"http://127.0.0.1:{rig.port}") as gateway:
            return await gateway.ask(CHAT, json.dumps(rig.chat("tokens=1", model=PLAIN)).encode(), BATCH_KEY)

    answer = asyncio.run(work())
    assert answered(0, "one", answer).ok
    assert rig.record(answer.headers["x-request-id"]).model == BASE


def test_a_keys_list_names_an_alias_and_not_what_it_stands_for(rig: Rig) -> None:
    add_key(rig.postgres, "sk-alias-listed", "owner", names=[NAME])
    rig.wait_for_directory()
    assert ask(rig, NAME, key="sk-alias-listed")[0] == 200
    for name in (OLD, NEW, BASE, PLAIN):
        assert ask(rig, name, key="sk-alias-listed")[0] == 404
    listed = json.loads(rig.call("GET", "/v1/models", authorization="Bearer sk-alias-listed")[2])["data"]
    assert [model["id"] for model in listed] == [NAME]
    rig.postgres.execute("DELETE FROM gateway_keys WHERE digest = %s", digest("sk-alias-listed"))
