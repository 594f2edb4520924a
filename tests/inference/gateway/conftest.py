"""A real gunicorn with two gateway workers, a real PostgreSQL with tables in the views' place, fakes of the rest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inference.gateway.database import SCHEMA, Postgres, add_key, add_model
from tests.inference.gateway.parts import KEY, OTHER_KEY, SMALL_KEY, Rig, write_tokenizer
from tests.inference.gateway.redis_server import RedisServer


@pytest.fixture(scope="session")
def gateway_root() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="gw", dir="/tmp"))
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(gateway_root: Path) -> Iterator[Postgres]:
    root = gateway_root / "pg"
    root.mkdir()
    gateway_root.chmod(0o755)
    server = Postgres(root)
    server.start()
    server.execute(SCHEMA)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(gateway_root: Path) -> Iterator[RedisServer]:
    root = gateway_root / "redis"
    root.mkdir()
    server = RedisServer(root)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rig(gateway_root: Path, postgres: Postgres, redis_server: RedisServer) -> Iterator[Rig]:
    """Two workers, two replicas of one model, a second model that only some plans include, one without a replica."""
    rig = Rig(gateway_root, postgres, redis_server)
    models = gateway_root / "model"
    models.mkdir()
    write_tokenizer(models / "tokenizer.json")
    for name, fim in (("deepseek-fake", False), ("deepseek-fim", True), ("deepseek-away", False), ("fragile", False)):
        add_model(postgres, name, str(models), fim=fim)
    add_key(postgres, KEY, "owner")
    add_key(postgres, OTHER_KEY, "stranger", allowed=["deepseek-fim"])
    add_key(postgres, SMALL_KEY, "owner", context=64, default=32)
    rig.start_console()
    rig.start_engine("one", "deepseek-fake")
    rig.start_engine("two", "deepseek-fake")
    rig.start_engine("fim", "deepseek-fim")
    try:
        rig.start_gateway()
        yield rig
    finally:
        rig.stop()
