"""Two engine slots on an appliance of their own: a model in each, side by side, and one that moves from one to the other.

The second one is a copy of the first by hard links, with a package more: another slot by its digest, of the same vLLM.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.models.tiny_deepseek.model import NAME as TINY_DEEPSEEK
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from ops.slots import contents
from ops.slots.lock import read_lock
from ops.slots.record import SlotRecord
from tests.system.appliance import CACHE_DIR, DEMO, Appliance, free_port, until
from tests.system.conftest import START_TIMEOUT_S

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(3600)]
READY_S = 1200
PATIENT_S = 300  # for a command beside two engines that start
MARK = "coderack_second_slot"


def link_or_copy(source: str, target: str) -> str:
    """The file itself where both lie on one file system."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def add_package(slot: Path) -> None:
    """A module and its RECORD, as pip would leave them."""
    site = contents.site_packages(slot)
    module = b"SECOND = True\n"
    (site / f"{MARK}.py").write_bytes(module)
    digest = base64.urlsafe_b64encode(hashlib.sha256(module).digest()).decode().rstrip("=")
    about = site / f"{MARK}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MARK}\nVersion: 1\n")
    (about / "RECORD").write_text(f"{MARK}.py,sha256={digest},{len(module)}\n")


def make_second(first: Path, cache: Path, flavour: str) -> str:
    """Put a slot of this release's lock under another name into a cache directory; its name."""
    lock = read_lock(flavour)
    name = f"{lock.slot_name}-{lock.digest[:8]}"
    path = cache / "engines" / name
    left_out = shutil.ignore_patterns("slot.json", "__pycache__")
    shutil.copytree(first, path, symlinks=True, copy_function=link_or_copy, ignore=left_out)
    add_package(path)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    SlotRecord(name, lock.flavour, lock.vllm_version, lock.digest, contents.digest(path), now).write(path)
    return name


@pytest.fixture
def alone() -> Iterator[Appliance]:
    """An appliance with the demo model in the first slot."""
    folder = Path(tempfile.mkdtemp(prefix="coderack-slots-"))
    folder.chmod(0o755)  # the embedded PostgreSQL has a user of its own
    running = Appliance(folder / "data", free_port(), {"CODERACK_DEVICES": "cpu:4"})
    try:
        started = running.cli("start", timeout_s=START_TIMEOUT_S)
        assert started.returncode == 0, started.stdout + started.stderr
        yield running
    finally:
        stopped = running.cli("stop", timeout_s=PATIENT_S)
        shutil.rmtree(folder)
        shutil.rmtree(running.env.run_dir, ignore_errors=True)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def told(appliance: Appliance, *arguments: str) -> Any:
    """What a command answers."""
    done = appliance.cli(*arguments, "--json", timeout_s=PATIENT_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def serving(appliance: Appliance, model: str) -> list[dict[str, Any]]:
    """A model's ready replicas, as `coderack status` tells them."""
    rows: list[dict[str, Any]] = told(appliance, "status")["replicas"]
    return [row for row in rows if row["model"] == model and row["state"] == "ready"]


def program(row: dict[str, Any]) -> Path:
    """What the engine's own process was started with."""
    return Path(Path(f"/proc/{row['pid']}/cmdline").read_bytes().split(b"\0")[0].decode())


def wait_for(appliance: Appliance, model: str, slot: str) -> dict[str, Any]:
    """The model's one replica, once it serves in this slot alone."""
    rows = until(
        lambda: serving(appliance, model), lambda rows: [row["slot"] for row in rows] == [slot], READY_S, period_s=2
    )
    return rows[0]


def ask(appliance: Appliance, model: str, key: str) -> int:
    body = {"model": model, "prompt": "def add(a, b):", "max_tokens": 4, "ignore_eos": True}
    return appliance.request("POST", "/v1/completions", body, key)[0]


@contextmanager
def asked(appliance: Appliance, model: str, key: str) -> Iterator[list[int]]:
    """The statuses of requests that come one after the other all the while."""
    over, statuses = threading.Event(), list[int]()

    def run() -> None:
        while not over.wait(0.2):
            statuses.append(ask(appliance, model, key))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def test_a_model_in_each_slot_and_one_that_moves(alone: Appliance) -> None:
    alone.wait_ready(timeout_s=READY_S)
    [first] = told(alone, "engine", "list")
    cache = alone.data_dir.parent / "cache"
    second = make_second(Path(first["path"]), cache, first["flavour"])
    elsewhere = Appliance(alone.data_dir, alone.port, alone.extra | {"CODERACK_CACHE_DIR": str(cache)})
    assert told(elsewhere, "engine", "install", first["flavour"])["name"] == second
    slots = {row["name"]: row for row in told(alone, "engine", "list")}
    assert slots[second]["digest"] != slots[first["name"]]["digest"]

    weights = ensure_tiny_deepseek(CACHE_DIR, Path(first["path"]) / "bin" / "python")
    for arguments in (
        ("model", "add", str(weights), "--name", TINY_DEEPSEEK, "--max-model-len", "2048"),
        ("model", "deploy", TINY_DEEPSEEK, "--slot", second, "--flag=--max-num-seqs=8"),
    ):
        done = alone.cli(*arguments, timeout_s=PATIENT_S)
        assert done.returncode == 0, done.stderr
    new, old = wait_for(alone, TINY_DEEPSEEK, second), wait_for(alone, DEMO, first["name"])
    assert (new["engine"], old["engine"]) == (slots[second]["version"], first["version"])
    assert program(new).is_relative_to(slots[second]["path"])
    assert program(old).is_relative_to(first["path"])
    key = alone.new_tenant("alpha")
    until(lambda: ask(alone, DEMO, key), lambda status: status == 200, 60)
    assert ask(alone, TINY_DEEPSEEK, key) == 200
    assert {row["name"]: row["in_use_by"] for row in told(alone, "engine", "list")} == {
        first["name"]: [DEMO],
        second: [TINY_DEEPSEEK],
    }

    with asked(alone, TINY_DEEPSEEK, key) as statuses:
        assert told(alone, "engine", "use", first["name"], TINY_DEEPSEEK)["stale"] is True
        moved = wait_for(alone, TINY_DEEPSEEK, first["name"])
    assert program(moved).is_relative_to(first["path"])
    assert len(statuses) > 5
    assert set(statuses) == {200}
    assert serving(alone, DEMO) == [old], "the other model stayed where it was"

    again = told(alone, "model", "deploy", TINY_DEEPSEEK, "--flag=--max-num-seqs=8")
    assert (again["slot"], again["stale"]) == (first["name"], False), "it stays in its slot, though the second is newer"
