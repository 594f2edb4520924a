"""Our gateway with every duty on, as the contender: key and directory from a real PostgreSQL, limits of every kind in a real
Redis, four replicas, the journal on disk, metrics. Redis runs on the gateway's core; what it uses is told apart."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import Contender, Engines, on_their_core
from tests.bench.machine import family
from tests.inference.gateway.database import SCHEMA, Postgres, add_key, add_model
from tests.inference.gateway.parts import KEY, Rig, free_port, healthy, start_gunicorn, write_tokenizer
from tests.inference.gateway.redis_server import RedisServer
from tests.waiting import wait_until

MODEL = "deepseek-bench"
PLENTY = 10**9  # so that every limit is counted and none refuses
MAX_SEQUENCES = 4096  # of a replica: no stream waits for a place
LIMITS = {
    "requests_per_minute": PLENTY,
    "tokens_per_minute": PLENTY * 1000,
    "tokens_per_day": PLENTY * 1000,
    "spend_micros": PLENTY * 1000,
    "max_concurrency": PLENTY,
}
PRICES = [1_000_000, 100_000, 2_000_000]
AS_SHIPPED = {
    "comment_after_s": 10, "stall_timeout_s": 120, "head_timeout_s": 30, "redis_answer_s": 0.05,
}  # fmt: skip


@dataclass
class Ours:
    """What the gateways of one benchmark stand on."""

    rig: Rig
    redis: RedisServer

    @contextmanager
    def gateway(self, num_workers: int) -> Iterator[Contender]:
        """A gunicorn of so many workers, all on the contenders' core."""
        port = free_port()
        with on_their_core():
            process = start_gunicorn(self.rig, port, num_workers, **AS_SHIPPED)
        try:
            wait_until(
                lambda: len(family(process.pid)) > num_workers and healthy(port),
                60,
                self.rig.root / f"gateway-{port}.log",
            )
            assert self.redis.process is not None
            helpers = {"redis": self.redis.process.pid}
            yield Contender("ours", f"tcp:127.0.0.1:{port}", KEY, process.pid, helpers)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


@contextmanager
def ours(engines: Engines, root: Path) -> Iterator[Ours]:
    """The database, Redis and the directory."""
    for folder in (root, root / "pg", root / "redis"):
        folder.mkdir()
    root.chmod(0o755)  # the database may run as another user
    postgres, redis = Postgres(root / "pg"), RedisServer(root / "redis")
    with on_their_core():
        postgres.start()
        redis.start()
    try:
        write_tokenizer(root / "tokenizer.json")
        postgres.execute(SCHEMA)
        add_key(postgres, KEY, "owner", limits={"tenant": LIMITS, "key": {}, "models": {}, "prices": PRICES})
        add_model(postgres, MODEL, str(root))
        for number, socket in enumerate(engines.sockets):
            postgres.execute(
                "INSERT INTO gateway_replicas VALUES (%s, %s, %s, %s, %s)",
                f"r{number}",
                f"life{number}",
                MODEL,
                str(socket),
                MAX_SEQUENCES,
            )
        yield Ours(Rig(root, postgres, redis), redis)
    finally:
        redis.stop()
        postgres.stop()
