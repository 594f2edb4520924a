"""The FIM model's next version from a signed bundle, and back, while clients go on asking; the upgrade is killed on its way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.env import REPO, Env
from appliance.fleet.models import Replica
from appliance.ledger.models import LedgerEntry
from appliance.operations.models import Upgrade, UpgradeState, UpgradeStep
from appliance.registry.models import EngineSlot
from ops.cli.demo.cast import FIM_MODEL, NORTH
from ops.cli.demo.load import Load
from ops.cli.demo.tenancy import require_free_device, wait_until_usable
from ops.cli.demo.walk import LEDGER_S, Shown, StepFailed, Walk, found
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek

SEED = 7
UPGRADE_S = 600.0
KILL_AFTER_S = 120.0
SETTLED_S = 3.0  # requests before the upgrade begins, and after it ended
CONTEXT = "2048"


def scratch(env: Env) -> Path:
    """Keys, bundles and a trust store of the demo's own: an operator's trusted root is not touched."""
    return env.data_dir / "demo" / "upgrade"


def build_a_signed_bundle(walk: Walk) -> Shown:
    """Keys, and a bundle of the model's second version; it verifies."""
    require_free_device()
    top = scratch(walk.env)
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(mode=0o700, parents=True)
    for keys in ("keys", "other-keys"):
        walk.cli("bundle", "keygen", str(top / keys))
    model = _build(walk, "keys", "bundle")
    told = walk.cli_json("bundle", "verify", str(top / "bundle"), "--root", str(top / "keys/root.json"))
    said = told["bundle"]
    return Shown(
        model.name, {"files": said["files"], "size_bytes": said["size_bytes"], "verified": told["ok"]},
        {"model": FIM_MODEL, "digest": said["digest"]},
    )  # fmt: skip


def _build(walk: Walk, keys: str, out: str) -> Path:
    """A bundle of the second version, signed with some keys."""
    slot = EngineSlot.objects.order_by("-created_at").first()
    if slot is None:
        raise StepFailed("there is no engine slot")
    model = ensure_tiny_deepseek(walk.env.cache_dir, Path(slot.path) / "bin" / "python", seed=SEED)
    top = scratch(walk.env)
    walk.cli(
        "bundle", "build", str(top / out), "--keys", str(top / keys), "--model", str(model), "--name", FIM_MODEL,
        "--max-model-len", CONTEXT, "--fim", "--engine-flavour", slot.flavour, "--engine-version", slot.engine_version,
    )  # fmt: skip
    return model


def refuse_a_bad_bundle(walk: Walk) -> Shown:
    """A copy with one flipped byte, and the same model signed by somebody else: neither gets in."""
    top = scratch(walk.env)
    flipped = top / "flipped"
    shutil.copytree(top / "bundle", flipped)
    weights = flipped / "targets/model/model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1000, os.SEEK_END)
        file.write(bytes([byte ^ 1]))
    _build(walk, "other-keys", "others")
    refused = {
        what: _refused(walk, top / directory) for what, directory in (("one_byte", "flipped"), ("other_keys", "others"))
    }
    shutil.rmtree(flipped)
    shutil.rmtree(top / "others")
    if "model.safetensors" not in refused["one_byte"]:
        raise StepFailed(f"the refusal does not name the file: {refused['one_byte']}")
    return Shown("one byte", refused, {"model": FIM_MODEL, "plans": Upgrade.objects.filter(name=FIM_MODEL).count()})


def _refused(walk: Walk, bundle: Path) -> str:
    """The first line that `upgrade plan` refuses a bundle with."""
    done = walk.try_cli("upgrade", "plan", str(bundle), *_trusted(walk))
    if done.returncode != 1:
        raise StepFailed(f"a bad bundle was planned: {done.stdout}{done.stderr}")
    return done.stderr.strip().splitlines()[0]


def _trusted(walk: Walk) -> tuple[str, ...]:
    top = scratch(walk.env)
    return ("--root", str(top / "keys/root.json"), "--trust", str(top / "trust"))


def plan_an_upgrade(walk: Walk) -> Shown:
    """Preflight finds nothing against it; the plan is a row."""
    bundle = str(scratch(walk.env) / "bundle")
    told = walk.cli_json("preflight", bundle, *_trusted(walk))
    against = [finding["name"] for finding in told["findings"] if finding["verdict"] == "refused"]
    if against or not told["ok"]:
        raise StepFailed(f"preflight speaks against it: {against}")
    planned = walk.cli_json("upgrade", "plan", bundle, *_trusted(walk))
    return Shown(
        bundle,
        {"looked_at": len(told["findings"]), "strategy": planned["strategy"], "state": planned["state"]},
        {"upgrade": planned["id"], "digest": planned["to"], "before": planned["from"]},
    )


def upgrade_under_load(walk: Walk) -> Shown:
    """Applied while clients ask, killed while the new engine starts, resumed: no request fails."""
    upgrade = Upgrade.objects.filter(name=FIM_MODEL, state=UpgradeState.PLANNED).latest("created_at")
    with _asked(walk, "upgrade") as load:
        _apply_and_kill(walk, upgrade)
        other = walk.try_cli("upgrade", "apply", str(upgrade.pk))
        if other.returncode == 0:
            raise StepFailed("an upgrade that was interrupted could be applied again without `resume`")
        _run("upgrade", "resume")
        time.sleep(SETTLED_S)
    return _shown(upgrade, load)


def roll_back_under_load(walk: Walk) -> Shown:
    """One command back to the version before, under the same load."""
    with _asked(walk, "rollback") as load:
        _run("rollback", FIM_MODEL)
        time.sleep(SETTLED_S)
    shutil.rmtree(scratch(walk.env), ignore_errors=True)
    return _shown(Upgrade.objects.filter(name=FIM_MODEL, rollback=True).latest("created_at"), load)


def _asked(walk: Walk, what: str) -> Load:
    """Clients with a key of their own, whose rows in the ledger are the load's and nobody else's."""
    made = walk.cli_json("key", "create", NORTH, "--name", f"demo, {what}")
    wait_until_usable(walk, made["key"])
    return Load(walk.client_with(made["key"]), FIM_MODEL, made["id"], SETTLED_S)


def _apply_and_kill(walk: Walk, upgrade: Upgrade) -> None:
    """Kill the command while it waits for the new version's engine."""
    argv = [sys.executable, "-m", "ops.cli.main", "upgrade", "apply", str(upgrade.pk)]
    with subprocess.Popen(argv, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as applying:
        try:
            found(lambda: _new_engine(upgrade), KILL_AFTER_S, "the new version's engine was not started", 0.1)
        finally:
            applying.send_signal(signal.SIGKILL)
    walk.say("`coderack upgrade apply` was killed while it waited for the new engine")
    upgrade.refresh_from_db()
    if upgrade.state != UpgradeState.RUNNING:
        raise StepFailed(f"the killed upgrade is {upgrade.state}")


def _new_engine(upgrade: Upgrade) -> bool:
    upgrade.refresh_from_db()
    return Replica.objects.filter(deployment=upgrade.to_deployment).exclude(life=None).exists()


def _run(*arguments: str) -> None:
    argv = [sys.executable, "-m", "ops.cli.main", *arguments]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False, timeout=UPGRADE_S)
    if done.returncode != 0:
        raise StepFailed(f"`coderack {' '.join(arguments)}` ended with {done.returncode}: {done.stdout}{done.stderr}")


def _shown(upgrade: Upgrade, load: Load) -> Shown:
    """What the clients saw, what the ledger holds of it, how long each step took, and on whose engines it was booked."""
    upgrade.refresh_from_db()
    if load.failures or upgrade.state != UpgradeState.DONE:
        raise StepFailed(
            f"{len(load.failures)} of {load.sent} requests failed: {load.failures[:3]}; it is {upgrade.state}"
        )
    booked = LedgerEntry.objects.filter(key_id=load.key_id)
    found(lambda: booked.count() == load.sent, LEDGER_S, f"{load.sent} requests, {booked.count()} in the ledger")
    first, last = booked.earliest("started_at"), booked.latest("started_at")
    return Shown(
        f"{FIM_MODEL} {upgrade.digest}",
        {"requests": load.sent, "streamed": load.streamed, "failed": 0, "slowest_ms": load.slowest_ms} | _seconds(upgrade),
        {
            "upgrade": str(upgrade.pk), "digest": upgrade.digest, "key": load.key_id, "old_life": str(first.life_id),
            "new_life": str(last.life_id), "began": load.began.isoformat(), "ended": datetime.now(UTC).isoformat(),
        },
    )  # fmt: skip


def _seconds(upgrade: Upgrade) -> dict[str, Any]:
    rows = UpgradeStep.objects.filter(upgrade=upgrade).order_by("index")
    took = {f"{row.name}_s": round((row.finished_at - row.started_at).total_seconds(), 1)
            for row in rows if row.started_at and row.finished_at}  # fmt: skip
    return took | {"tries": max(row.attempts for row in rows)}
