"""An appliance that is backed up, and one that is made of the backup."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from django.conf import settings
from typer.testing import CliRunner

from appliance.env import REPO, default_run_dir
from appliance.ledger.meter import entry
from appliance.training import files
from appliance.training.models import Dataset, StoredFile
from inference.metering.journal import UsageRecord
from ops.cli.main import app
from ops.embedded import postgres
from tests.appliance.training.cast import ROWS, Cast
from tests.appliance.training.conftest import cast, files_dir

__all__ = ["cast", "files_dir"]
ENTRIES = ("journal", "jobs", "trust", "secret_key", "planted_secret", ".backup.lock")


def usage(number: int, tenant: str = "acme") -> UsageRecord:
    now = time.time()
    return UsageRecord(
        request_id=f"request-{number}", tenant_id=tenant, key_id=None, model="smollm2", endpoint="chat", stream=True,
        life_id=None, replica_id=None, started_at=now, finished_at=now, prompt_tokens=100 + number, cached_tokens=number,
        completion_tokens=10 + number, engine_prompt_tokens=100, outcome="completed", http_status=200, ttft_ms=5, exact=True,
    )  # fmt: skip


@dataclass
class Box:
    """The appliance that is backed up: rows, files, and where a backup of it goes."""

    cast: Cast
    data_dir: Path
    target: Path
    file: StoredFile
    adapter_path: Path


@pytest.fixture
def box(cast: Cast, files_dir: Path, tmp_path: Path) -> Iterator[Box]:
    data_dir = Path(settings.ENV.data_dir)
    clear(data_dir)  # other tests of this process use the directory, too: what they left would be backed up
    (data_dir / "secret_key").write_text("a-secret-key-of-the-data-directory")
    (data_dir / "planted_secret").write_text("ab" * 32)
    (data_dir / "trust").mkdir()
    (data_dir / "trust" / "seen.json").write_text("{}")
    adapter_path = data_dir / "jobs" / "ftjob-1" / "attempts" / "1" / "adapter"
    adapter_path.mkdir(parents=True)
    (adapter_path / "manifest.json").write_text("{}")
    cast.adapter(path=str(adapter_path))
    file = files.store(cast.acme, cast.key, "fine-tune", "rows.jsonl", [ROWS])
    dataset = files.dataset_dir(file)
    dataset.mkdir(parents=True)
    (dataset / "manifest.json").write_text("{}")
    Dataset.objects.create(file=file, kind="chat", path=str(dataset), digest="d", rows=3, report={})
    for number in range(5):
        entry(usage(number)).save(force_insert=True)
    yield Box(cast, data_dir, tmp_path / "backup", file, adapter_path)
    clear(data_dir)


def clear(data_dir: Path) -> None:
    for name in ENTRIES:
        path = data_dir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def backup(box: Box) -> dict[str, Any]:
    done = run("backup", str(box.target), "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


@dataclass
class Copy:
    """A data directory for the restored appliance, short and open enough for its embedded PostgreSQL."""

    data_dir: Path

    def coderack(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command as an operator of the copy does."""
        return subprocess.run(
            self.argv(*arguments),
            cwd=REPO,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ops.cli.main", *arguments]

    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("CODERACK_", "DJANGO_"))}
        cache = {"CODERACK_CACHE_DIR": str(self.data_dir.parent / "cache")}
        return ours | cache | {"CODERACK_DATA_DIR": str(self.data_dir)}

    def restore(self, source: Path, *options: str) -> dict[str, Any]:
        done = self.coderack("restore", str(source), "--json", *options)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture
def copy() -> Iterator[Copy]:
    root = Path(tempfile.mkdtemp(prefix="coderack-test-", dir="/tmp"))
    root.chmod(0o755)
    yield Copy(root / "d")
    shutil.rmtree(root)
    shutil.rmtree(default_run_dir(root / "d"), ignore_errors=True)


class Server:
    """The restored cluster, running for a block."""

    def __init__(self, copy: Copy) -> None:
        run_dir = default_run_dir(copy.data_dir)
        self.cluster = postgres.place(copy.data_dir, run_dir / "pg")
        self.dsn = f"postgresql://coderack@/coderack?host={run_dir / 'pg'}"

    def __enter__(self) -> psycopg.Connection[Any]:
        groups: list[int] | None = None if self.cluster.user is None else []
        self.process = subprocess.Popen(
            self.cluster.argv(), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self.cluster.user,
            group=self.cluster.group, extra_groups=groups,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not postgres.answers(self.dsn):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.connection = psycopg.connect(self.dsn, autocommit=True)
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)
