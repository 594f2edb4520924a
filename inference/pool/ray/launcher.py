"""Starts engines where their devices are: on this machine as ever, on another one by way of a tether."""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path

import inference
from inference.devices.info import DeviceInfo, box_of, there
from inference.engines import EngineKind, EngineSpec
from inference.pool.errors import LaunchFailed
from inference.pool.launcher import Launched, LocalLauncher, plain, prune_logs, spawn
from inference.pool.ray import files
from inference.pool.ray.order import Order, encode
from inference.pool.settings import PoolSettings, RaySettings
from inference.pool.store import DesiredDeployment, Life, ReplicaRow

ROOT = Path(inference.__file__).resolve().parents[1]
PYTHON = Path(sys.executable).absolute()  # not resolved: a venv's python is a link
_PASSED_ON = ("HOME", "TZ", "LD_LIBRARY_PATH")


def environment() -> dict[str, str]:
    """For programs of ours that work with Ray: its own variables, a cluster's token among them, and no secret of ours."""
    passed = {name: os.environ[name] for name in os.environ if name in _PASSED_ON or name.startswith("RAY_")}
    ours = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "LANG": "C.UTF-8"}
    return passed | ours


class RayLauncher:
    """`local` starts what has this machine's devices."""

    def __init__(self, settings: PoolSettings, ray: RaySettings, kind: EngineKind, local: LocalLauncher) -> None:
        self._settings = settings
        self._ray = ray
        self._kind = kind
        self._local = local
        self._counts: dict[str, int] = {}

    def count(self, devices: list[DeviceInfo]) -> None:
        """How many devices each machine has, told with every reading."""
        boxes = [box_of(device.id) for device in devices]
        self._counts = {box: boxes.count(box) for box in boxes}

    def launch(self, deployment: DesiredDeployment, row: ReplicaRow, devices: tuple[DeviceInfo, ...]) -> Launched:
        """Raises: LaunchFailed when files it needs are missing; SpecRefused when the engine can't run like this."""
        boxes = sorted({box_of(device.id) for device in devices})
        if boxes == [""]:
            return self._local.launch(deployment, row, devices)
        if len(boxes) != 1:
            raise LaunchFailed(f"one engine on several machines is not run here: {', '.join(boxes)}")
        return self._launch(deployment, row, boxes[0], devices)

    def clear_away(self, life: Life) -> None:
        """Remove what an ended engine left here; its node process tidies up over there."""
        self._local.clear_away(life)

    def _launch(
        self, deployment: DesiredDeployment, row: ReplicaRow, box: str, devices: tuple[DeviceInfo, ...]
    ) -> Launched:
        life_id = str(uuid.uuid4())
        order = self._order(deployment, box, devices, life_id)
        self._kind.command(order.spec)  # what can't run like this is refused here already
        log_name = f"{plain(deployment.name)}-{row.index}"
        log, socket = self._settings.log(log_name, life_id), self._settings.socket(life_id)
        path = self._settings.scratch(life_id) / "order.json"
        for folder in (path.parent, log.parent, order.wish.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(encode(order))
        prune_logs(self._settings, log_name)
        # its socket is said as engines say it: by that a stop finds what outlived its pool
        argv = [str(PYTHON), "-m", "inference.pool.ray.tether", str(path), "--uds", str(socket)]
        return spawn(argv, environment(), Life(life_id, 0, 0, socket, log, time.time(), deployment.way))

    def _order(self, deployment: DesiredDeployment, box: str, devices: tuple[DeviceInfo, ...], life_id: str) -> Order:
        settings, model = self._settings, deployment.model_path.resolve()
        folders = files.NodeFolders(settings, life_id)
        try:
            model_files = files.fingerprint(model)
        except OSError as error:
            raise LaunchFailed(f"the model at {model} can't be read: {error}") from error
        spec = EngineSpec(
            slot_python=deployment.slot_python.absolute(),
            model=deployment.model,
            model_path=model,
            max_model_len=deployment.max_model_len,
            flags=deployment.flags,
            devices=tuple(there(device) for device in devices),
            socket=folders.socket,
            home=folders.home,
            cache=settings.cache(deployment.id) / box,
            scratch=folders.scratch,
            shutdown_timeout_s=max(1, int(settings.grace_s) - 2),
            adapters=folders.adapters,
        )
        return Order(
            life_id=life_id,
            node=box,
            engine_kind=settings.engine_kind,
            spec=spec,
            node_devices=self._counts.get(box, len(devices)),
            model=model_files,
            digest=deployment.model_digest,
            wish=settings.adapters(life_id),
            python=PYTHON,
            root=ROOT,
            ray=self._ray,
        )
