"""An upgrade to a version that no engine can load, on the running appliance: taken back by itself, and nobody noticed.

The upgrade that succeeds, killed on its way and rolled back, is the demo's.
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from ops.models import manifest
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from tests.system.appliance import CACHE_DIR, Appliance
from tests.system.conftest import Cast, slot_python

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.timeout(900)]


def write_unloadable(appliance: Appliance, target: Path) -> None:
    """A whole, verified model directory whose weights do not have the shapes that its configuration says."""
    shutil.copytree(ensure_tiny_deepseek(CACHE_DIR, slot_python(appliance)), target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"moe_intermediate_size": 128}))
    manifest.write(target, name="unloadable", origin="a test", licence="none")


def test_a_version_that_no_engine_can_load_is_taken_back_and_the_old_one_served_all_along(
    appliance: Appliance, deepseek: str, cast: Cast, tmp_path: Path
) -> None:
    write_unloadable(appliance, tmp_path / "model")
    for arguments in (
        ("bundle", "keygen", str(tmp_path / "keys")),
        ("bundle", "build", str(tmp_path / "stick"), "--keys", str(tmp_path / "keys"), "--model", str(tmp_path / "model"),
         "--name", deepseek, "--max-model-len", "2048", "--fim"),
        ("upgrade", "plan", str(tmp_path / "stick"), "--root", str(tmp_path / "keys/root.json"),
         "--trust", str(tmp_path / "trust")),
    ):  # fmt: skip
        done = appliance.cli(*arguments, timeout_s=120)
        assert done.returncode == 0, done.stderr
    before = appliance.replica(deepseek)
    over, statuses = threading.Event(), []

    def ask() -> None:
        while not over.wait(0.5):
            body = {"model": deepseek, "prompt": "def add(", "max_tokens": 2}
            statuses.append(appliance.request("POST", "/v1/completions", body, cast.alpha)[0])

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        applied = appliance.cli("upgrade", "apply", timeout_s=600)
    finally:
        over.set()
        asking.join()
    assert applied.returncode == 1
    assert "beside: replica 0 of version" in applied.stderr
    assert f"taken back, {deepseek} is served by version" in applied.stderr
    assert len(statuses) > 5
    assert set(statuses) == {200}
    after = appliance.replica(deepseek)
    assert (after["life"], after["state"]) == (before["life"], "ready")
    assert appliance.sql("SELECT count(*) FROM fleet_deployment WHERE name = %s AND running", deepseek) == [(1,)]
    shown = appliance.cli_json("upgrade", "list")[0]
    assert (shown["model"], shown["state"]) == (deepseek, "undone")
