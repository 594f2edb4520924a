"""A worker on a box that is not the home box: it takes its box' name, and tells what the box has for as long as it works."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import uuid
from pathlib import Path

from django.db import Error, connection

from appliance.env import Env
from appliance.fleet import boxes, leases
from appliance.fleet.boxes import Abilities
from appliance.fleet.dead_engines import pool_settings
from appliance.fleet.deployments import FLAVOURS
from appliance.fleet.errors import BoxRefused, StorageRefused
from appliance.fleet.models import Deployment
from appliance.fleet.storage import require_storage
from appliance.training.heartbeat import stopping
from inference.devices import DeviceInfo, open_probe
from inference.devices.errors import DeviceError
from inference.devices.info import box_of
from inference.pool.device_watch import Steady, with_foreign

log = logging.getLogger("coderack.training")


class Reporter:
    """The box in the database, kept fresh by a thread of its own.

    Where the storage is not the database's any more, or another worker has the box, the whole worker ends.
    """

    def __init__(self, env: Env) -> None:
        self._env = env
        self._worker = uuid.uuid4().hex
        told = pool_settings(env)
        # no engines run here, so that processors are one device unless somebody wants more
        self._probe = open_probe(told.device_kind, told.cpu_devices or 1)
        self._steady = Steady()
        self._devices: list[DeviceInfo] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="box-reporter", daemon=True)

    def enter(self) -> None:
        """Take the box' name, and tell for the first time what it has. After a killed worker that takes some seconds.

        Raises: BoxRefused, StorageRefused, DeviceError.
        """
        require_storage(self._env.data_dir)
        self._devices = self._steady.see(self._probe.read())
        deadline = time.monotonic() + boxes.SILENT_S + boxes.REPORT_S
        while not boxes.enter(self._env.box, self._worker, socket.gethostname()):
            if time.monotonic() > deadline:
                raise BoxRefused(
                    f"another worker is the one of box {self._env.box!r}: give this one another CODERACK_BOX"
                )
            time.sleep(0.5)
        self._report()

    def start(self) -> None:
        """Go on telling."""
        self._thread.start()

    def leave(self) -> None:
        """Tell that the box takes no more work."""
        self._over.set()
        self._thread.join(boxes.REPORT_S)
        boxes.leave(self._env.box, self._worker)

    @property
    def told(self) -> str:
        """What the box has, for people."""
        return ", ".join(f"{device.id} ({device.name})" for device in self._devices) or "no devices"

    def _run(self) -> None:
        while not self._over.wait(boxes.REPORT_S):
            try:
                require_storage(self._env.data_dir)
                self._devices = self._steady.see(self._probe.read())
                self._report()
            except (StorageRefused, BoxRefused) as error:
                self._end(str(error))
                return
            except (Error, DeviceError) as error:  # not told for a while: then nothing is sent here
                log.warning("the box can't report: %s", str(error).partition("\n")[0])
                connection.close()
            except Exception:
                # the top of this thread's loop: what a driver's library throws must not end it
                log.exception("the box can't report, and tries again")
        connection.close()

    def _report(self) -> None:
        held = {device.partition("/")[2] for device in leases.leased() if box_of(device) == self._env.box}
        devices = with_foreign(self._devices, (), held)
        if not boxes.report(self._env.box, self._worker, devices, abilities(devices)):
            raise BoxRefused(f"another worker is the one of box {self._env.box!r} now")

    def _end(self, why: str) -> None:
        log.error("this worker ends: %s", why)
        connection.close()
        stopping.set()
        os.kill(os.getpid(), signal.SIGTERM)


def abilities(devices: list[DeviceInfo]) -> Abilities:
    """Which of the bases that are served can be trained here: slot and weights lie at the paths that the home box has."""
    flavours = {FLAVOURS[device.kind] for device in devices if device.kind in FLAVOURS}
    bases, lacks = [], []
    for deployment in Deployment.objects.filter(running=True).select_related("model", "slot"):
        slot, weights = deployment.slot, Path(deployment.model.path)
        if slot.flavour not in flavours:
            lacks.append(f"{deployment.name}: its slot is of flavour {slot.flavour}, not for these devices")
        elif not slot.is_there:
            lacks.append(f"{deployment.name}: no engine slot at {slot.path}")
        elif not weights.is_dir():
            lacks.append(f"{deployment.name}: no weights at {weights}")
        else:
            bases.append(str(deployment.model_id))
    return Abilities(tuple(bases), "; ".join(lacks))
