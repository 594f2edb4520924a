"""What an engine's plugin is told of its adapters: before they are loaded, in every life, by whichever pool."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.engines import vllm
from inference.pool import adapter_loader
from inference.pool.adapter_wish import tell
from inference.pool.adapters import Wish
from inference.pool.engine_client import EngineClient
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredAdapter, Life
from tests.inference.pool.adapter_dirs import make_adapter
from tests.inference.pool.conftest import Pool
from tests.waiting import wait_until

S = ReplicaState
LORA = ("--enable-lora", "--max-lora-rank", "8", "--max-cpu-loras", "3")


def told(pool: Pool, life: Life) -> list[dict[str, Any]]:
    """What the engine's plugin reads, at the place that the engine was told of at its start."""
    environment = dict(
        line.split("=", 1) for line in Path(f"/proc/{life.pid}/environ").read_text().split("\0") if "=" in line
    )
    place = Path(environment[vllm.ADAPTERS_VARIABLE])
    assert place == pool.settings.adapters(life.id)
    return json.loads(place.read_bytes())["adapters"] if place.exists() else []


def expected(adapter: DesiredAdapter, pinned: bool) -> dict[str, Any]:
    return {"name": adapter.name, "path": str(adapter.path), "digest": adapter.digest, "pinned": pinned}


def pin(pool: Pool, adapter: DesiredAdapter) -> None:
    with pool.store.open() as tables:
        tables.adapters = [replace(one, pinned=one.id == adapter.id) for one in tables.adapters]


def served(pool: Pool) -> tuple[DesiredAdapter, DesiredAdapter, Life]:
    pool.deploy(flags=LORA)
    one, two = pool.adapt(1), pool.adapt(2)
    pool.start()
    life = pool.wait_until(S.READY).life
    wait_until(lambda: pool.loads(life) == {"1": (True, ""), "2": (True, "")})
    return one, two, life


def test_a_pin_reaches_the_engine_without_a_load_and_outlives_pool_and_engine(pool: Pool) -> None:
    one, two, life = served(pool)
    assert told(pool, life) == [expected(one, False), expected(two, False)]
    before = pool.loads(life)
    pin(pool, two)
    pinned_first = [expected(two, True), expected(one, False)]
    wait_until(lambda: told(pool, life) == pinned_first)
    assert pool.loads(life) == before
    pool.leave()
    assert told(pool, life) == pinned_first
    pool.start()
    os.kill(life.pid, signal.SIGKILL)
    again = pool.wait(lambda row: row.state is S.READY and row.life != life, "ready with a new life").life
    wait_until(lambda: told(pool, again) == pinned_first)


def test_a_pool_that_comes_later_tells_what_changed_meanwhile(pool: Pool) -> None:
    one, two, life = served(pool)
    pool.leave()
    pin(pool, one)
    with pool.store.open() as tables:
        tables.adapters = [adapter for adapter in tables.adapters if adapter.id != two.id]
    pool.start()
    wait_until(lambda: told(pool, life) == [expected(one, True)])
    assert pool.row().life == life


def test_what_an_engine_took_off_its_list_is_verified_anew_and_the_reason_is_on_record(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_loader, "_COMPARE_S", 0.3)
    one, _, life = served(pool)
    (one.path / "adapter_model.safetensors").write_bytes(b"somebody else's weights")
    EngineClient(life.socket).post(*vllm.unload_adapter_request(one.name), 5)
    wait_until(lambda: "was changed" in pool.loads(life).get("1", (True, ""))[1])
    assert pool.loads(life)["2"] == (True, "")


def test_an_engine_that_can_t_be_told_loads_nothing(pool: Pool) -> None:
    pool.deploy(flags=LORA)
    pool.start()
    life = pool.wait_until(S.READY).life
    place = pool.settings.adapters(life.id)
    wait_until(place.exists)
    place.unlink()
    place.mkdir()  # nothing can be put in its place
    pool.adapt(1)
    wait_until(lambda: place.with_suffix(".new").exists())
    assert pool.loads(life) == {}
    place.rmdir()
    wait_until(lambda: pool.loads(life) == {"1": (True, "")})


def test_nothing_is_written_for_an_engine_that_has_no_home_here(tmp_path: Path) -> None:
    adapter = DesiredAdapter("1", "a", "d", tmp_path / "a", make_adapter(tmp_path / "a"), 4)
    wish = Wish(tmp_path, 8, None, (adapter,))
    tell(tmp_path / "elsewhere" / "adapters.json", wish)
    assert not (tmp_path / "elsewhere").exists()
    tell(tmp_path / "adapters.json", wish)
    first = (tmp_path / "adapters.json").stat()
    tell(tmp_path / "adapters.json", wish)
    assert (tmp_path / "adapters.json").stat().st_ino == first.st_ino, "it is replaced only by another"
