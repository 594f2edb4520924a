"""An appliance that is upgraded, without engines: rows, a signer, a pool that only writes rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from appliance.audit.models import AuditEntry
from appliance.first_rows import register_model, register_slot
from appliance.fleet import deployments
from appliance.fleet.models import Replica
from appliance.operations import engines, upgrades
from appliance.operations.models import Upgrade, UpgradeStep
from appliance.operations.upgrade_steps import STEPS
from appliance.operations.upgrade_steps.base import RowStep
from appliance.operations.upgrade_steps.switch import Switch
from appliance.operations.upgrades import Trial, Watch
from appliance.registry.models import ModelVersion
from ops.bundle.build import Wanted, build
from ops.bundle.keys import Keys
from ops.models import manifest
from ops.upgrade.preflight import Allowed
from tests.appliance.operations.row_pool import RowPool
from tests.ops.bundle.conftest import write_keys, write_model
from tests.waiting import wait_until

NAME = "coder"
NOTHING = Allowed()


class Killed(BaseException):
    """A SIGKILL, as far as Python can tell."""


class Quiet(RowStep):
    """No engine to ask."""

    name = "smoke"


class Unproven(Switch):
    """No gateway to ask."""

    def verify(self) -> None:
        """Nothing."""


@dataclass
class Site:
    """An appliance with one served model, a signer, and a pool."""

    root: Path
    keys: Keys
    pool: RowPool
    old: ModelVersion

    def bundle(self, seed: int = 2, **wanted: object) -> Path:
        model = write_model(self.root / f"model-{seed}", seed=seed)
        out = self.root / f"bundle-{seed}"
        said = Wanted(**({"name": NAME, "max_model_len": 512} | wanted))  # type: ignore[arg-type]
        build(out, self.keys, model, said, now=datetime.now(UTC), lifetime=timedelta(days=1))
        return out

    def plan(self, bundle: Path, allowed: Allowed = NOTHING, trial: Trial | None = None) -> Upgrade:
        return upgrades.plan(bundle, self.root / "trust", (self.root / "keys/root.json").read_bytes(), allowed, trial)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setitem(STEPS, "smoke", Quiet)
    monkeypatch.setitem(STEPS, "switch", Unproven)
    monkeypatch.setattr("appliance.operations.upgrade_steps.switch.SETTLE_S", 0.02)
    monkeypatch.setattr(engines, "LOOK_S", 0.02)
    monkeypatch.setattr(engines, "UNREAD_S", 0.0)  # nobody reads counters here
    path = write_model(tmp_path / "model-1", seed=1)
    slot = register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    old = register_model(NAME, path, manifest.read(path).digest, "", 512, False)
    deployments.serve(old, slot, ("--x",), 1, 1)
    pool = RowPool(tmp_path / "stopping", NAME)
    pool.start()
    wait_until(lambda: Replica.objects.filter(state="ready").exists())
    pool.watching = True
    yield Site(tmp_path, write_keys(tmp_path / "keys"), pool, old)
    pool.stop()
    shutil.rmtree(Path(settings.ENV.cache_dir) / "models", ignore_errors=True)


def killed_at(move: int) -> Watch:
    """A watch under which the process dies after that many moves of steps."""
    left = [move]

    def moved(_step: UpgradeStep) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return Watch(moved=moved)


def states(upgrade: Upgrade) -> dict[str, str]:
    return dict(upgrade.steps.order_by("index").values_list("name", "state"))


def acts() -> list[str]:
    return list(
        AuditEntry.objects.filter(action__startswith="upgrade.").order_by("seq").values_list("action", flat=True)
    )
