"""`coderack support-bundle`: what it takes from rows, settings and logs, and that planted secrets are in none of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.env import REPO
from appliance.fleet.models import EngineLife, Replica
from appliance.operations.support import PARTS
from appliance.tenants.keys import mint
from ops.cli.main import app
from ops.cli.printing import Exit
from tests.appliance.training.cast import Cast
from tests.appliance.training.conftest import cast, files_dir

__all__ = ["cast", "files_dir"]
PLANTED = {"planted_secret": "cd" * 32, "secret_key": "a-key-that-signs-sessions"}


@pytest.fixture
def logs() -> Iterator[Path]:
    data_dir = Path(settings.ENV.data_dir)
    (data_dir / "logs").mkdir(exist_ok=True)
    for name, value in PLANTED.items():
        (data_dir / name).write_text(value)
    yield data_dir / "logs"
    shutil.rmtree(data_dir / "logs")
    for name in PLANTED:
        (data_dir / name).unlink()


def texts(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {m.name.removeprefix("coderack-support/"): _read(archive, m) for m in archive}


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    return file.read().decode() if file else ""


def test_planted_secrets_and_tenants_names_are_in_no_part(
    cast: Cast, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:red1s-pass@cache/0")
    _, key = mint(cast.acme, "leaky")
    file = cast.file(filename="layoffs-2026.jsonl")
    adapter = cast.adapter(name="ft:smollm2:acme:projectx:1234")
    life = EngineLife.objects.create(
        model_name="smollm2", pid=1, pid_started=1, socket="s", log="l", started_at="2026-01-01T00:00:00Z",
        end_reason=f"exit 1\nlast line: {key}",
    )  # fmt: skip
    Replica.objects.create(deployment=cast.deployment, index=0, state="failed", reason=f"refused {key}", life=life)
    logged = [key, *PLANTED.values(), settings.ENV.secret_key, file.filename, adapter.name, "kim@" + "northwind.com"]
    (logs / "worker.log").write_text("".join(f"12:00:00 ERROR it was {value} again\n" for value in logged))
    (logs / "pool.log").write_text("redis://:red1s-pass@cache/0 does not answer\n")
    target = tmp_path / "s.tar.gz"
    done = CliRunner().invoke(app, ["support-bundle", str(target), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    held = texts(target)
    assert told["missing"] == {}
    assert {*PARTS, "logs/worker.log", "logs/pool.log", "status.json", "settings.json", "README.txt"} <= held.keys()
    for name, text in held.items():
        found = [value for value in [*logged, "red1s-pass", "projectx", "layoffs"] if value in text]
        assert not found, name
    assert json.loads(held["settings.json"])["REDIS_URL"] == "set"
    assert "refused [masked]" in held["fleet.json"]
    assert f"it was {file.pk} again" in held["logs/worker.log"]
    assert json.loads(held["audit.json"])["whole"] is True
    assert AuditEntry.objects.latest("seq").action == "support.bundle"


def test_without_logs_there_are_none(cast: Cast, logs: Path, tmp_path: Path) -> None:
    (logs / "pool.log").write_text("a line\n")
    done = CliRunner().invoke(app, ["support-bundle", str(tmp_path / "s.tar.gz"), "--log-kib", "0"])
    assert done.exit_code == 0, done.output
    assert not [name for name in texts(tmp_path / "s.tar.gz") if name.startswith("logs/")]


def test_a_file_that_is_there_is_not_overwritten(cast: Cast, logs: Path, tmp_path: Path) -> None:
    (tmp_path / "s.tar.gz").write_text("mine")
    done = CliRunner().invoke(app, ["support-bundle", str(tmp_path / "s.tar.gz")])
    assert (done.exit_code, "there already" in done.stderr) == (Exit.FAILED, True)


def test_it_works_without_a_database_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for name in ("worker", "gateway"):
        (tmp_path / "logs" / f"{name}.log").write_text("a line\n")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CODERACK_", "DJANGO_"))}
    target = tmp_path / "s.tar.gz"
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli.main", "support-bundle", str(target), "--json"], cwd=REPO, capture_output=True,
        text=True, env=ours | {"CODERACK_DATA_DIR": str(tmp_path), "CODERACK_RUN_DIR": str(tmp_path / "run")}, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["missing"].keys() == {*PARTS, "logs/worker.log"}
    assert {"logs/gateway.log", "machine.json", "versions.json", "README.txt"} <= texts(target).keys()
