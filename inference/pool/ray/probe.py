"""The devices of this machine and of the Ray cluster's others, as one inventory.

A cluster that can't be read changes nothing: the other machines' devices stay as they were last seen, in a file for the
next pool, so that engines over there are not taken for lost. A machine that Ray
no longer counts is gone.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from inference.devices import DeviceInfo, Probe
from inference.devices.info import box_of, on_box
from inference.pool.ray.launcher import PYTHON, ROOT, environment
from inference.pool.ray.order import Question, Seen, decode, encode
from inference.pool.ray.reading import BOOT
from inference.pool.settings import PoolSettings, RaySettings

log = logging.getLogger(__name__)

ANSWER_S = 20.0
RETRY_S = 10.0


class RayProbe:
    """Reads `own`, and asks a driver process about the others. `told` gets every inventory."""

    def __init__(
        self, settings: PoolSettings, ray: RaySettings, own: Probe, told: Callable[[list[DeviceInfo]], None]
    ) -> None:
        count = f":{settings.cpu_devices}" if settings.cpu_devices else ""
        self._question = Question(ray, f"{settings.device_kind}{count}", settings.run_dir, PYTHON, ROOT)
        self._own = own
        self._told = told
        self._file = settings.run_dir / "ray-devices.json"
        self._others = _kept(self._file)
        self._driver: subprocess.Popen[bytes] | None = None
        self._next_try = 0.0
        self._trouble: dict[str, str] = {}

    def read(self) -> list[DeviceInfo]:
        """Raises: DeviceError when this machine's can't be read."""
        own = self._own.read()
        seen = self._ask()
        self._complain("the Ray cluster", seen.trouble)
        if not seen.trouble:
            self._take(seen)
        devices = [*own, *self._others]
        self._told(devices)
        return devices

    def close(self) -> None:
        """End the driver."""
        self._drop()

    def _take(self, seen: Seen) -> None:
        boot = BOOT.read_text().strip()
        others: list[DeviceInfo] = []
        for node in seen.nodes:
            self._complain(node.node, node.trouble)
            if node.trouble:
                others += [device for device in self._others if box_of(device.id) == node.node]
            elif node.boot != boot or self._question.ray.nodes:
                others += [on_box(device, node.node) for device in node.devices]
        if [device.id for device in others] != [device.id for device in self._others]:
            temporary = self._file.with_suffix(".tmp")
            temporary.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(encode(others))
            temporary.rename(self._file)
        self._others = others

    def _ask(self) -> Seen:
        if self._driver is None:
            if time.monotonic() < self._next_try:
                return Seen(trouble=self._trouble.get("the Ray cluster", "it is tried again soon"))
            self._driver = self._start()
        answer = _exchange(self._driver)
        if answer is None or answer.trouble:
            self._drop()
        return answer or Seen(trouble="it does not answer")

    def _start(self) -> subprocess.Popen[bytes]:
        argv = [str(PYTHON), "-m", "inference.pool.ray.driver", "watch"]
        pipe = subprocess.PIPE
        driver = subprocess.Popen(argv, env=environment(), cwd="/", stdin=pipe, stdout=pipe, start_new_session=True)
        _tell(driver, encode(self._question) + b"\n")
        return driver

    def _drop(self) -> None:
        driver, self._driver = self._driver, None
        self._next_try = time.monotonic() + RETRY_S
        if driver is not None:
            driver.kill()
            driver.communicate()

    def _complain(self, who: str, trouble: str) -> None:
        if trouble != self._trouble.get(who, ""):  # each reading would say it again
            if trouble:
                log.warning("%s: %s", who, trouble)
            else:
                log.info("%s is there again", who)
        self._trouble[who] = trouble


def _exchange(driver: subprocess.Popen[bytes]) -> Seen | None:
    """Ask once; None when there is no answer in time."""
    assert driver.stdout is not None  # noqa: S101 - a pipe
    _tell(driver, b"\n")
    deadline, line = time.monotonic() + ANSWER_S, b""
    while not line.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([driver.stdout], [], [], left_s)[0]:
            return None
        more = os.read(driver.stdout.fileno(), 1 << 16)
        if not more:
            return None
        line += more
    seen: Seen = decode(line, Seen)
    return seen


def _tell(driver: subprocess.Popen[bytes], data: bytes) -> None:
    assert driver.stdin is not None  # noqa: S101 - a pipe
    try:
        driver.stdin.write(data)
        driver.stdin.flush()
    except BrokenPipeError:  # it has ended: its last answer, or that there is none, is read next
        return


def _kept(file: Path) -> list[DeviceInfo]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[DeviceInfo])
    except (OSError, msgspec.DecodeError):
        return []
