"""One engine's sleep over vLLM's own routes, and whether the host has room for its weights."""

import pytest

from inference.engines import engine_kind
from inference.pool.sleep import Sleep, host_has_room
from inference.pool.store import Life
from tests.fakes.engine import FakeEngine
from tests.inference.pool.table_store import TableStore


@pytest.fixture
def engine(tmp_path):
    engine = FakeEngine(tmp_path / "e.sock", base="lite")
    engine.can_sleep = True
    engine.start()
    yield engine
    engine.stop()


def sleep_of(engine, store=None):
    life = Life("1", 1, 1, engine.socket, engine.socket, 0.0)
    return Sleep(life, engine_kind("vllm"), store or TableStore())


def test_it_sleeps_without_its_adapters_and_wakes(engine):
    store = TableStore()
    store.record_adapter("1", "a", True, "")
    engine.adapters["ft:lite:a"] = "/adapters/a"
    sleep = sleep_of(engine, store)
    assert sleep.fall_asleep()
    assert sleep.fall_asleep(), "said twice, as by the next pool"
    assert store.adapter_loads("1") == {}
    assert engine.adapters == {}
    assert sleep.wake_up() == ""
    assert sleep.wake_up() == ""


def test_one_that_can_not_sleep_says_so_and_keeps_its_adapters(engine):
    engine.can_sleep = False
    engine.adapters["ft:lite:a"] = "/adapters/a"
    assert not sleep_of(engine).fall_asleep()
    assert engine.adapters == {"ft:lite:a": "/adapters/a"}


def test_one_that_is_gone_neither_sleeps_nor_wakes(engine):
    sleep = sleep_of(engine)
    engine.stop()
    assert not sleep.fall_asleep()
    assert "wake_up" in sleep.wake_up()


@pytest.mark.parametrize(("available_kib", "has_room"), [(8 << 20, True), (4 << 20, False)])
def test_the_host_must_have_room_for_the_weights(tmp_path, available_kib, has_room):
    with (tmp_path / "model.safetensors").open("wb") as weights:
        weights.truncate(1 << 30)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {available_kib} kB\n")
    assert host_has_room(tmp_path, meminfo) is has_room


def test_a_host_that_does_not_tell_has_none(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 99999999 kB\n")
    assert not host_has_room(tmp_path, tmp_path / "meminfo")
