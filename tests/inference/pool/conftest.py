"""A pool on a folder of its own, with engines that come up within a second."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.devices import Probe, open_probe
from inference.engines import engine_kind
from inference.metering.journal import JournalWriter, UsageRecord, read_records
from inference.pool.keeper import Surroundings
from inference.pool.launcher import Launcher, LocalLauncher
from inference.pool.process import kill_session
from inference.pool.settings import PoolSettings
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredAdapter, DesiredDeployment, Life, ReplicaRow
from inference.pool.supervisor import Supervisor
from tests.inference.pool.adapter_dirs import make_adapter, make_base
from tests.inference.pool.fake_slot import make_model, make_slot
from tests.inference.pool.table_store import TableStore


class Pool:
    """Supervisors on one store, one after the other, and the engines they leave."""

    def __init__(self, folder: Path, run_folder: Path, store: TableStore, **settings: float) -> None:
        self.store = store
        self.folder = folder
        quick = {"tick_s": 0.1, "scrape_s": 0.2, "canary_period_s": 0.4, "canary_timeout_s": 2.0, "grace_s": 3.0}
        self.settings = PoolSettings(folder, run_folder, folder / "journal", cpu_devices=2, **{**quick, **settings})
        self.journal = JournalWriter(self.settings.journal_dir, "pool")
        self._supervisor: Supervisor | None = None
        self._thread: threading.Thread | None = None
        self._lives = set()

    def start(self, probe: Probe | None = None, launcher: Launcher | None = None) -> None:
        kind = engine_kind("vllm")
        launcher = launcher or LocalLauncher(self.settings, kind)
        around = Surroundings(self.store, self.journal, self.settings, kind, launcher.clear_away)
        self._supervisor = Supervisor(around, launcher, probe or open_probe("cpu", 2))
        self._thread = threading.Thread(target=self._supervisor.run)
        self._thread.start()

    def leave(self) -> float:
        """Seconds it took."""
        begun = time.monotonic()
        if self._supervisor is not None:
            self._supervisor.leave()
            self._thread.join()
        return time.monotonic() - begun

    def has_returned(self) -> bool:
        return not self._thread.is_alive()

    def deploy(self, name: str = "lite", **more) -> Path:
        """A deployment of a fake model; its folder, for faults."""
        model = more.pop("model_path", None) or make_model(self.folder / "models" / name)
        values = {"replicas": 1, "devices_each": 1, "flags": (), "max_model_len": 512, "running": True}
        values |= {"slot_python": make_slot(self.folder / "slot"), "model_digest": "", "preset": "", **more}
        with self.store.open() as tables:
            others = [d for d in tables.desired if d.id != name]
            tables.desired = [*others, DesiredDeployment(id=name, name=name, model=name, model_path=model, **values)]
        return model

    def adapt(self, number: int, deployment: str = "lite", **more) -> DesiredAdapter:
        """Wish for an adapter of a deployment; its directory is made, with what `more` says."""
        make_base(self.folder / "models" / deployment)
        path = self.folder / "adapters" / str(number)
        wish = DesiredAdapter(
            str(number), f"ft:{deployment}:acme:x:{number}", deployment, path, make_adapter(path, **more), 4
        )
        with self.store.open() as tables:
            tables.adapters = [*tables.adapters, wish]
        return wish

    def loads(self, life: Life) -> dict[str, tuple[bool, str]]:
        """What is on record of a life, by adapter id."""
        with self.store.open() as tables:
            return {adapter: found for (life_id, adapter), found in tables.loads.items() if life_id == life.id}

    def row(self, name: str = "lite", index: int = 0) -> ReplicaRow | None:
        for row in self.store.replicas():
            if (row.deployment_id, row.index) == (name, index):
                self._lives |= {row.life} if row.life else set()
                return row
        return None

    def wait_until(self, state: ReplicaState, name: str = "lite", timeout_s: float = 40) -> ReplicaRow:
        return self.wait(lambda row: row is not None and row.state is state, f"{name} is {state}", name, timeout_s)

    def wait(self, holds: Callable[[ReplicaRow | None], bool], what: str, name: str = "lite", timeout_s: float = 40):
        deadline = time.monotonic() + timeout_s
        while not holds(row := self.row(name)):
            assert time.monotonic() < deadline, f"waited for: {what}; the row: {row}"
            time.sleep(0.05)
        return row

    def states(self) -> list[str]:
        with self.store.open() as tables:
            return [str(state) for _, state, _ in tables.moves]

    def records(self) -> list[UsageRecord]:
        return [record for path in self.settings.journal_dir.glob("*.jsonl") for record in read_records(path)[0]]

    def close(self) -> None:
        self.leave()
        self.journal.close()
        for row in self.store.replicas():
            self._lives |= {row.life} if row.life else set()
        for life in self._lives:
            kill_session(life.pid, life.pid_started)


@pytest.fixture
def make_pool(tmp_path, tmp_path_factory):
    made = []

    def make(**settings) -> Pool:
        run_folder = tmp_path_factory.mktemp("r")  # short: it holds sockets
        made.append(Pool(tmp_path, run_folder, TableStore(), **settings))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def pool(make_pool) -> Pool:
    return make_pool()
