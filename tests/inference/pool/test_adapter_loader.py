"""Adapters in engines that come up at once: loaded while warming, followed within a second, never twice, never unverified."""

import os
import signal
import time

import pytest

from inference.engines import vllm
from inference.pool.engine_client import EngineClient
from inference.pool.states import ReplicaState

S = ReplicaState
LORA = ("--enable-lora", "--max-lora-rank", "8")


def adapters_of(life) -> dict[str, str]:
    """What the engine says that it has."""
    return vllm.parse_adapters(EngineClient(life.socket).get("/v1/models", 2).json())


def wait_for(holds, what, timeout_s=30.0) -> float:
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < timeout_s, f"waited for: {what}"
        time.sleep(0.02)
    return time.monotonic() - begun


@pytest.fixture
def served(pool):
    """A ready replica that takes adapters, and one adapter in it."""
    pool.deploy(flags=LORA)
    adapter = pool.adapt(1)
    pool.start()
    life = pool.wait_until(S.READY).life
    wait_for(lambda: pool.loads(life) == {"1": (True, "")}, "the adapter is loaded")
    return adapter, life


def test_it_has_its_adapters_soon_after_it_is_ready(served):
    adapter, life = served
    assert adapters_of(life) == {adapter.name: str(adapter.path)}


def test_a_change_reaches_the_engine_within_a_second(pool, served):
    _, life = served
    second = pool.adapt(2)
    assert wait_for(lambda: pool.loads(life).get("2") == (True, ""), "the second is loaded") < 1
    with pool.store.open() as tables:
        tables.adapters = [second]
    assert wait_for(lambda: adapters_of(life) == {second.name: str(second.path)}, "the first is unloaded") < 1
    assert pool.loads(life) == {"2": (True, "")}


def test_it_loads_them_into_every_replica_and_into_no_other_deployment(pool):
    pool.deploy("lite", flags=LORA)
    pool.deploy("other", flags=LORA)
    adapter = pool.adapt(1, "lite")
    pool.start()
    lives = {name: pool.wait_until(S.READY, name).life for name in ("lite", "other")}
    wait_for(lambda: adapters_of(lives["lite"]) == {adapter.name: str(adapter.path)}, "loaded")
    time.sleep(0.5)
    assert adapters_of(lives["other"]) == {}


def test_a_new_life_gets_them_again(pool, served):
    adapter, life = served
    os.kill(life.pid, signal.SIGKILL)
    again = pool.wait(lambda row: row.state is S.READY and row.life != life, "ready with a new life").life
    wait_for(lambda: pool.loads(again) == {"1": (True, "")}, "loaded in the new life")
    assert adapters_of(again) == {adapter.name: str(adapter.path)}


def test_an_adopted_engine_keeps_them(pool, served):
    adapter, life = served
    pool.leave()
    pool.start()
    time.sleep(1)
    assert pool.row().life == life
    assert adapters_of(life) == {adapter.name: str(adapter.path)}
    assert pool.loads(life) == {"1": (True, "")}


def test_what_a_dead_pool_loaded_is_verified_before_it_is_recorded(pool, served):
    adapter, life = served
    pool.leave()
    with pool.store.open() as tables:
        tables.loads.clear()
    pool.start()
    wait_for(lambda: pool.loads(life) == {"1": (True, "")}, "recorded again")
    pool.leave()
    with pool.store.open() as tables:
        tables.loads.clear()
    (adapter.path / "adapter_model.safetensors").write_bytes(b"somebody else's weights")
    pool.start()
    wait_for(lambda: pool.loads(life).get("1", (True, ""))[0] is False, "refused")
    wait_for(lambda: adapters_of(life) == {}, "unloaded")
    assert "was changed" in pool.loads(life)["1"][1]


def test_what_was_withdrawn_while_no_pool_was_there_is_unloaded(pool, served):
    _, life = served
    pool.leave()
    with pool.store.open() as tables:
        tables.adapters = []
    pool.start()
    wait_for(lambda: adapters_of(life) == {}, "unloaded")
    assert pool.loads(life) == {}


def test_it_refuses_changed_files_and_loads_the_others(pool):
    pool.deploy(flags=LORA)
    bad, good = pool.adapt(1), pool.adapt(2)
    (bad.path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    pool.start()
    life = pool.wait_until(S.READY).life
    wait_for(lambda: pool.loads(life).keys() == {"1", "2"}, "both are on record")
    assert pool.loads(life)["2"] == (True, "")
    assert "was changed" in pool.loads(life)["1"][1]
    assert adapters_of(life) == {good.name: str(good.path)}
    assert pool.row().state is S.READY


def test_it_tries_again_what_the_engine_refused(pool):
    model = pool.deploy(flags=LORA)
    (model / "picky").write_text("no room")
    pool.adapt(1)
    pool.start()
    life = pool.wait_until(S.READY).life
    wait_for(lambda: "HTTP 400: no room" in pool.loads(life).get("1", (False, ""))[1], "the refusal is on record")
    (model / "picky").unlink()
    wait_for(lambda: pool.loads(life) == {"1": (True, "")}, "loaded after the back-off")


def test_it_says_that_a_deployment_takes_no_adapters(pool):
    pool.deploy()
    pool.adapt(1)
    pool.start()
    life = pool.wait_until(S.READY).life
    wait_for(lambda: "take no adapters" in pool.loads(life).get("1", (False, ""))[1], "the reason is on record")
    assert pool.row().state is S.READY


def test_a_long_load_keeps_nobody_from_finding_a_hang(pool):
    model = pool.deploy(flags=LORA)
    pool.start()
    pool.wait_until(S.READY)
    (model / "patient").write_text("30")
    pool.adapt(1)
    time.sleep(0.5)
    (model / "hang").touch()
    assert pool.wait_until(S.FAILED, timeout_s=8).reason.startswith("hung")


def test_it_records_what_it_loaded_while_the_store_was_away(pool, served):
    _, life = served
    record = pool.store.record_adapter
    pool.store.record_adapter = _refuse
    pool.adapt(2)
    wait_for(lambda: len(adapters_of(life)) == 2, "loaded")
    time.sleep(0.5)
    assert "2" not in pool.loads(life)
    pool.store.record_adapter = record
    wait_for(lambda: pool.loads(life).get("2") == (True, ""), "recorded")


def test_a_device_that_is_lent_is_not_taken(pool):
    with pool.store.open() as tables:
        tables.leased = {"cpu:0"}
    pool.deploy()
    pool.start()
    assert pool.wait_until(S.READY).devices == ("cpu:1",)


def test_a_device_that_is_lent_at_the_last_moment_is_planned_anew(pool):
    asked = pool.store.leased_devices
    pool.store.leased_devices = set  # what the plan saw was true a moment ago
    with pool.store.open() as tables:
        tables.leased = {"cpu:0"}
    pool.deploy()
    pool.start()
    time.sleep(0.5)
    assert pool.store.replicas() == []
    pool.store.leased_devices = asked
    assert pool.wait_until(S.READY).devices == ("cpu:1",)


def _refuse(*_):
    raise ConnectionError("the database is away")
