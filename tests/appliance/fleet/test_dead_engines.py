"""What a start makes of the rows that a power cut left behind."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest

from appliance.fleet.dead_engines import forget_dead_engines
from appliance.fleet.models import Deployment, EngineLife, Replica
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import EngineSlot, ModelVersion
from inference.pool import PoolSettings
from inference.pool.process import read_stat
from inference.pool.store import Life

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def settings(tmp_path: Path) -> PoolSettings:
    return PoolSettings(data_dir=tmp_path, run_dir=tmp_path, journal_dir=tmp_path / "journal")


def replica_of(pid: int, started: int, settings: PoolSettings, index: int) -> Life:
    store = DatabaseStore(settings.run_dir / "stopping")
    row = store.create_replica(str(Deployment.objects.get().id), index, (f"cpu:{index}",))
    life_id = str(uuid.uuid4())
    life = Life(life_id, pid, started, settings.socket(life_id), Path("/x.log"), time.time())
    store.begin_life(row.id, life)
    Replica.objects.filter(id=row.id).update(state="ready")
    return life


def test_it_forgets_the_dead_and_keeps_the_living(db: None, settings: PoolSettings) -> None:
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/s", digest="d")
    model = ModelVersion.objects.create(name="m", path="/m", digest="d", max_model_len=512)
    Deployment.objects.create(model=model, slot=slot, max_model_len=512)
    me = read_stat(os.getpid())
    assert me is not None
    living = replica_of(me.pid, me.started, settings, 0)
    dead = replica_of(me.pid, me.started + 1, settings, 1)  # another process had this pid before
    dead.socket.parent.mkdir(parents=True, exist_ok=True)
    dead.socket.touch()
    DatabaseStore(settings.run_dir / "stopping").create_replica(str(Deployment.objects.get().id), 2, ())

    assert forget_dead_engines(settings) == 2
    assert [row.life_id for row in Replica.objects.all()] == [uuid.UUID(living.id)]
    assert EngineLife.objects.get(id=dead.id).ended_at is not None
    assert EngineLife.objects.get(id=living.id).ended_at is None
    assert not dead.socket.exists()
    assert forget_dead_engines(settings) == 0
