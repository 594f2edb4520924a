"""Adapters through the whole gateway: served to their own tenant under their own name, unknown to everybody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.inference.gateway.database import add_key, add_model
from tests.inference.gateway.parts import KEY, OTHER_KEY, Rig

CHAT = "/v1/chat/completions"
BASE, FIM_BASE = "deepseek-tuned", "deepseek-fim"
OWN = f"ft:{BASE}:owner:pay:1a2b3c"
OWN_FIM = f"ft:{FIM_BASE}:owner:pay:4d5e6f"
AWAY = f"ft:{BASE}:owner:away:7a8b9c"
THEIRS = f"ft:{BASE}:stranger:pay:0d0e0f"
UNKNOWN = f"ft:{BASE}:nobody:pay:000000"
NAMED_KEY, BASE_KEY, NARROW_KEY = "sk-named", "sk-base", "sk-narrow"


@pytest.fixture(scope="module", autouse=True)
def adapters(rig: Rig, gateway_root: Any) -> Iterator[None]:
    """A base with adapters of two tenants, one of them loaded nowhere, and keys whose plans include some of it."""
    path = str(gateway_root / "model")
    add_model(rig.postgres, BASE, path)
    for name, base, tenant in (
        (OWN, BASE, "owner"), (AWAY, BASE, "owner"), (THEIRS, BASE, "stranger"), (OWN_FIM, FIM_BASE, "owner"),
    ):  # fmt: skip
        add_model(rig.postgres, name, path, fim=base == FIM_BASE, tenant=tenant, base=base)
    engine = rig.start_engine("tuned", BASE, knows_names=True)
    for name in (OWN, THEIRS):
        engine.adapters[name] = f"/adapters/{name}"
        rig.add_replica("tuned", name)
    rig.add_replica("fim", OWN_FIM)
    add_key(rig.postgres, BASE_KEY, "owner", allowed=[BASE])
    add_key(rig.postgres, NAMED_KEY, "owner", allowed=[OWN])
    add_key(rig.postgres, NARROW_KEY, "owner", allowed=["something-else"])
    rig.wait_for_directory()
    yield
    rig.postgres.execute("DELETE FROM gateway_models WHERE base = %s OR tenant_id IS NOT NULL", BASE)
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE model LIKE 'ft:%%' OR model = %s", BASE)
    rig.wait_for_directory()
    rig.engines["tuned"].stop()  # it stays among the others: what it generated was billed


def listed(rig: Rig, key: str) -> list[str]:
    answer = rig.call("GET", "/v1/models", authorization=f"Bearer {key}")[2]
    return [model["id"] for model in json.loads(answer)["data"]]


@pytest.mark.parametrize("stream", [False, True])
def test_it_serves_an_adapter_to_its_tenant_and_bills_it_under_its_name(rig: Rig, stream: bool) -> None:
    status, headers, body = rig.call("POST", CHAT, rig.chat("tokens=3", model=OWN, stream=stream))
    assert status == 200
    assert f"<{OWN}>".encode() in body
    record = rig.record(headers["x-request-id"])
    assert (record.model, record.tenant_id, record.completion_tokens) == (OWN, "owner", 3)
    assert (record.life_id, record.exact) == ("life-tuned", True)


def test_it_serves_the_base_beside_its_adapters(rig: Rig) -> None:
    body = rig.call("POST", CHAT, rig.chat("tokens=1", model=BASE))[2]
    assert b"ft:" not in body


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", CHAT, {"messages": [{"role": "user", "content": "x"}]}),
        ("POST", "/v1/completions", {"prompt": "x"}),
        ("POST", "/completions", {"prompt": "x", "stream": True}),
        ("POST", "/beta/completions", {"prompt": "x", "suffix": "y"}),
        ("GET", "/v1/models/", None),
        ("GET", "/models/", None),
    ],
)
@pytest.mark.parametrize("key", [KEY, BASE_KEY, NARROW_KEY])
def test_anothers_adapter_is_as_unknown_as_a_name_of_nothing(
    rig: Rig, method: str, path: str, body: dict[str, Any] | None, key: str
) -> None:
    before = len(rig.engines["tuned"].bodies)
    answers = []
    for name in (THEIRS, UNKNOWN):
        sent = None if body is None else {"model": name, **body}
        where = path + (name if body is None else "")
        status, headers, answer = rig.call(method, where, sent, authorization=f"Bearer {key}")
        kept = [(header, value) for header, value in headers.items() if header not in ("x-request-id", "date")]
        answers.append((status, kept, answer))
    assert answers[0] == answers[1]
    assert (answers[0][0], json.loads(answers[0][2])["error"]["code"]) == (404, "model_not_found")
    assert len(rig.engines["tuned"].bodies) == before


def test_it_lists_base_models_and_own_adapters(rig: Rig) -> None:
    assert {OWN, AWAY, OWN_FIM, BASE, FIM_BASE} <= set(listed(rig, KEY))
    assert THEIRS not in listed(rig, KEY)
    assert listed(rig, OTHER_KEY) == [FIM_BASE], "their plan does not include the base of their adapter"


def test_a_plan_that_includes_the_base_includes_its_adapters(rig: Rig) -> None:
    assert set(listed(rig, BASE_KEY)) == {BASE, OWN, AWAY}
    assert rig.call("POST", CHAT, rig.chat(model=OWN), authorization=f"Bearer {BASE_KEY}")[0] == 200
    assert listed(rig, NAMED_KEY) == [OWN]
    assert rig.call("POST", CHAT, rig.chat(model=OWN), authorization=f"Bearer {NAMED_KEY}")[0] == 200
    assert rig.call("POST", CHAT, rig.chat(model=BASE), authorization=f"Bearer {NAMED_KEY}")[0] == 403
    status, _, body = rig.call("POST", CHAT, rig.chat(model=OWN), authorization=f"Bearer {NARROW_KEY}")
    assert (status, json.loads(body)["error"]["code"]) == (403, "model_not_allowed")


@pytest.mark.parametrize("prefix", ["/v1/models/", "/models/"])
@pytest.mark.parametrize("name", [OWN, OWN.replace(":", "%3A"), OWN.replace(":", "%3a")])
def test_it_shows_an_adapter_however_its_colons_are_written(rig: Rig, prefix: str, name: str) -> None:
    status, _, body = rig.call("GET", prefix + name)
    assert status == 200
    assert json.loads(body) == {
        "id": OWN, "object": "model", "created": 1, "owned_by": "owner", "max_model_len": 4096,
    }  # fmt: skip


def test_an_adapter_that_is_loaded_nowhere_yet_is_overloaded(rig: Rig) -> None:
    status, headers, body = rig.call("POST", CHAT, rig.chat(model=AWAY))
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    assert int(headers["retry-after"]) > 0


def test_an_adapter_that_was_just_unloaded_is_overloaded(rig: Rig) -> None:
    path = rig.engines["tuned"].adapters.pop(OWN)
    try:
        status, headers, body = rig.call("POST", CHAT, rig.chat(model=OWN))
    finally:
        rig.engines["tuned"].adapters[OWN] = path
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    assert int(headers["retry-after"]) > 0


def test_an_adapter_fills_in_the_middle_where_its_base_does(rig: Rig) -> None:
    request = {"prompt": "def f():", "suffix": "return 1"}
    assert rig.call("POST", "/v1/completions", {"model": OWN_FIM, **request})[0] == 200
    assert "fim\u2581hole" in rig.engines["fim"].bodies[-1]["prompt"]
    assert rig.engines["fim"].bodies[-1]["model"] == OWN_FIM
    status, _, body = rig.call("POST", "/v1/completions", {"model": OWN, **request})
    assert (status, json.loads(body)["error"]["param"]) == (400, "suffix")


def test_an_adapters_context_is_counted_as_its_bases(rig: Rig) -> None:
    status, _, body = rig.call("POST", "/v1/completions", {"model": OWN, "prompt": "word " * 5000})
    assert (status, json.loads(body)["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("path", [f"/v1/models/{OWN}", f"/models/{OWN.replace(':', '%3A')}"])
def test_a_deletion_is_the_consoles_to_answer(rig: Rig, path: str) -> None:
    seen = json.loads(rig.call("DELETE", path)[2])
    assert (seen["method"], seen["path"]) == ("DELETE", path)
    rig.stop_console()
    try:
        status, _, body = rig.call("DELETE", path)
        assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    finally:
        rig.start_console()


def test_the_other_methods_of_a_model_are_refused(rig: Rig) -> None:
    for method in ("POST", "PUT", "PATCH"):
        status, headers, _ = rig.call(method, f"/v1/models/{OWN}")
        assert (status, headers["allow"]) == (405, "GET, HEAD, DELETE")
    assert rig.call("DELETE", "/v1/models")[1]["allow"] == "GET, HEAD"


def test_what_anybody_may_see_tells_nothing_of_adapters(rig: Rig) -> None:
    rig.call("POST", CHAT, rig.chat("tokens=2", model=OWN))
    health = json.loads(rig.call("GET", "/healthz", authorization="")[2])
    assert health["ready_replicas"] <= len(rig.engines)
    assert health["models"] == len([name for name in listed(rig, KEY) if not name.startswith("ft:")])
    metrics = rig.call("GET", "/metrics")[2].decode()
    assert "ft:" not in metrics
    assert f'model="{BASE}"' in metrics


def test_a_withdrawn_adapter_is_unknown_within_a_second(rig: Rig, gateway_root: Any) -> None:
    name = f"ft:{BASE}:owner:brief:123456"
    rig.engines["tuned"].adapters[name] = "/adapters/brief"
    add_model(rig.postgres, name, str(gateway_root / "model"), tenant="owner", base=BASE)
    rig.add_replica("tuned", name)
    rig.wait_for_directory()
    assert rig.call("POST", CHAT, rig.chat(model=name))[0] == 200
    rig.postgres.execute("DELETE FROM gateway_models WHERE name = %s", name)
    rig.wait_for_directory()
    assert rig.call("POST", CHAT, rig.chat(model=name))[0] == 404
