"""A gateway of its own whose usage goes to the real ledger."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.db import connections

from appliance.ledger.meter import ship_all
from appliance.ledger.sweep import Sweeper
from inference.gateway.limits.scripts import CONTENT, OPEN, PREFIX
from inference.gateway.open_table import beside, tables, writer_of
from inference.pool.process import is_alive
from tests.fakes.engine import FakeEngine
from tests.inference.gateway.database import SCHEMA, Postgres, add_key, add_model
from tests.inference.gateway.parts import KEY, Rig, write_tokenizer
from tests.inference.gateway.redis_server import RedisServer
from tests.waiting import wait_until

MODEL = "deepseek-fake"
LIMITS = {
    "tenant": {"tokens_per_day": 10**9, "spend_micros": 10**12, "concurrency": 10_000}, "key": {}, "models": {},
    "prices": [1_000_000, 100_000, 2_000_000],
}  # fmt: skip


class BookedRig(Rig):
    """A rig whose engines' lives have ids that the ledger takes, with a sweeper beside it."""

    def __init__(self, root: Path, postgres: Postgres, server: RedisServer) -> None:
        super().__init__(root, postgres, server)
        self.lives: dict[str, str] = {}
        self.client: redis.Redis = server.client()
        self.sweeper = Sweeper(self.journal_dir, self.client)
        self._sweeping = threading.Lock()

    def add_replica(self, name: str, model: str, max_sequences: int | None = None) -> None:
        self.add_socket(name, model, self.engines[name].socket, max_sequences)

    def add_socket(self, name: str, model: str, path: Path, max_sequences: int | None = None) -> str:
        """A replica that answers there; its life."""
        life = self.lives[name] = str(uuid.uuid4())
        self.postgres.execute(
            "INSERT INTO gateway_replicas VALUES (%s, %s, %s, %s, %s)",
            str(uuid.uuid4()), life, model, str(path), max_sequences,
        )  # fmt: skip
        return life

    def remove_engine(self, name: str) -> FakeEngine:
        """The engine dies; its counters can still be read."""
        engine = self.engines.pop(name)
        engine.stop()
        self.postgres.execute("DELETE FROM gateway_replicas WHERE life_id = %s", self.lives[name])
        return engine

    def settle(self) -> None:
        """Ship and sweep until nothing is running, open or reserved; long before a lease would end."""
        wait_until(lambda: not any(engine.running for engine in self.engines.values()))
        wait_until(self._is_at_rest, 30)

    def _is_at_rest(self) -> bool:
        with self._sweeping:
            ship_all(self.journal_dir)
            self.sweeper.sweep()
        of_the_dead = [path for path in tables(beside(self.journal_dir)) if not is_alive(*(writer_of(path) or (0, 0)))]
        return not (of_the_dead or self.client.zcard(OPEN) or self.client.hlen(CONTENT))

    def sweep_aside(self) -> None:
        """One pass of the meter in another thread."""
        try:
            with self._sweeping:
                ship_all(self.journal_dir)
                self.sweeper.sweep()
        finally:
            connections.close_all()

    def used_today(self) -> int:
        """Tokens of the day as the limits count them."""
        return int(self.client.hget(f"{PREFIX}t:owner", "d") or 0)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Path, Postgres, RedisServer]]:
    root = Path(tempfile.mkdtemp(prefix="ex", dir="/tmp"))
    root.chmod(0o755)
    for name in ("pg", "redis"):
        (root / name).mkdir()
    postgres, server = Postgres(root / "pg"), RedisServer(root / "redis")
    postgres.start()
    server.start()
    postgres.execute(SCHEMA)
    (root / "model").mkdir()
    write_tokenizer(root / "model" / "tokenizer.json")
    add_model(postgres, MODEL, str(root / "model"))
    add_key(postgres, KEY, "owner", limits=LIMITS)
    yield root, postgres, server
    postgres.stop()
    server.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def booked(servers: tuple[Path, Postgres, RedisServer], db: None) -> Iterator[BookedRig]:
    """Two replicas; a test starts the gateway itself."""
    root, postgres, server = servers
    server.client().flushall()
    directory = Path(tempfile.mkdtemp(dir=root))
    rig = BookedRig(directory, postgres, server)
    rig.start_console()
    rig.start_engine("one", MODEL)
    rig.start_engine("two", MODEL)
    yield rig
    if rig.process is None:
        rig.stop_console()
    else:
        rig.stop()
    rig.sweeper.close()
    postgres.execute("DELETE FROM gateway_replicas")
