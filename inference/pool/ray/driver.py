"""The one process of ours that imports Ray: `python -m inference.pool.ray.driver place|watch`.

A process of its own, because a Ray client ends its process when the cluster stays away for long. `place` reads an order
and answers where its node process listens; `watch` reads a question and answers with the machines' devices for each line
that comes, until its input ends.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import re
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from inference.pool.ray import hand
from inference.pool.ray.errors import INSTALL, OrderRefused, RayAway
from inference.pool.ray.order import Order, Placed, Question, Seen, Sighting, decode, encode
from inference.pool.ray.reading import Reading
from inference.pool.settings import RaySettings

NAMESPACE = "coderack"
CONNECT_S = 3.0
START_S = 120.0
READ_S = 4.0
EYE_S = 90.0  # a machine under load takes its time to start an actor
RESOURCES = {"nvidia": "GPU", "ascend": "NPU"}  # as Ray counts them; anything else is a share of a machine's CPU
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}")  # a device's name has 32 characters at most
_DEVICE = re.compile(r"[a-z]{1,6}:[0-9]{1,4}")


def connect(settings: RaySettings) -> Any:
    """Ray's module, connected to the cluster.

    Raises: RayAway, quickly where nobody listens.
    """
    if importlib.util.find_spec("ray") is None:
        raise RayAway(f"Ray is not installed: {INSTALL}")
    host, _, port = settings.address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise RayAway(f"no Ray cluster at {settings.address}: {error}") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = importlib.import_module("ray")
    try:
        ray.init(settings.address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except Exception as error:  # noqa: BLE001 - whatever Ray throws means that there is no cluster to work with
        raise RayAway(f"the Ray cluster at {settings.address} takes us not: {_short(error)}") from None
    ray.cloudpickle.register_pickle_by_value(hand)
    return ray


def place(ray: Any, order: Order) -> Placed:
    """Start a hand on the order's machine. Raises: OrderRefused."""
    found = [node for node in ray.nodes() if node["Alive"] and node["NodeName"] == order.node]
    if not found:
        raise OrderRefused("it is not in the Ray cluster")
    node = found[0]
    bundle = bundle_for(order, node["Resources"])
    order = replace(order, address=node["NodeManagerAddress"])
    actor = _actor(ray, hand.Hand, node["NodeID"], lifetime="detached", name=f"engine-{order.life_id}")
    began = actor.start.remote(node["NodeID"], bundle, str(order.python), str(order.root), encode(order))
    try:
        answer: dict[str, Any] = ray.get(began, timeout=START_S)
        placed: Placed = Placed(**answer) if "refused" in answer else decode(answer["answer"], Placed)
    except Exception as error:  # noqa: BLE001 - the actor died, the machine went away, its answer is none: refused
        placed = Placed(refused=f"Ray could not start it: {_short(error)}")
    if placed.refused:
        ray.kill(actor)
    return placed


def bundle_for(order: Order, resources: dict[str, float]) -> dict[str, float]:
    """What an engine books of its machine. Raises: OrderRefused where the machine never has it."""
    wanted = len(order.spec.devices)
    resource = RESOURCES.get(order.spec.devices[0].kind)
    if resource is None:
        share = resources.get("CPU", 0.0) * wanted / max(wanted, order.node_devices)
        return {"CPU": max(0.01, math.floor(share * 100) / 100)}
    if resources.get(resource, 0.0) < wanted:
        has = resources.get(resource, 0.0)
        raise OrderRefused(
            f"Ray counts {has:g} {resource} there, and the engine needs {wanted}: see `ray start --resources`"
        )
    return {resource: float(wanted)}


@dataclass
class _Eye:
    actor: Any
    asked: Any = None
    since: float = 0.0


class Watch:
    """The machines of the cluster, each with an eye on it."""

    def __init__(self, ray: Any, question: Question) -> None:
        self._ray = ray
        self._question = question
        self._eyes: dict[str, _Eye] = {}

    def look(self) -> Seen:
        """What the machines have at the moment; a machine that does not answer in time says why."""
        wanted = self._question.ray.nodes
        nodes = {node["NodeID"]: node["NodeName"] for node in self._ray.nodes() if node["Alive"]}
        nodes = {id_: name for id_, name in nodes.items() if _NAME.fullmatch(name) and (not wanted or name in wanted)}
        self._eyes = {id_: eye for id_, eye in self._eyes.items() if id_ in nodes}
        for id_ in nodes:
            self._ask(id_)
        if nodes:
            asked = [eye.asked for eye in self._eyes.values()]
            self._ray.wait(asked, num_returns=len(asked), timeout=READ_S)
        return Seen(_one_of_a_name(self._sighting(id_, name) for id_, name in nodes.items()))

    def _ask(self, node_id: str) -> None:
        if node_id not in self._eyes:
            self._eyes[node_id] = _Eye(_actor(self._ray, hand.Eye, node_id))
        eye = self._eyes[node_id]
        if eye.asked is None:
            about = self._question
            places = str(about.python), str(about.root), str(about.run_dir)
            eye.asked, eye.since = eye.actor.read.remote(*places, about.devices), time.monotonic()

    def _sighting(self, node_id: str, name: str) -> Sighting:
        eye = self._eyes[node_id]
        if not self._ray.wait([eye.asked], timeout=0)[0]:
            if time.monotonic() - eye.since > EYE_S:
                self._close(node_id)
            return Sighting(name, trouble="it does not tell its devices")
        try:
            answer: dict[str, Any] = self._ray.get(eye.asked)
        except Exception as error:  # noqa: BLE001 - the actor or its machine is gone: the next look tries again
            self._close(node_id)
            return Sighting(name, trouble=f"it does not tell its devices: {_short(error)}")
        eye.asked = None
        return _understood(name, answer)

    def _close(self, node_id: str) -> None:
        self._ray.kill(self._eyes.pop(node_id).actor)


def _understood(name: str, answer: Any) -> Sighting:
    """What a machine said of its devices. One that talks nonsense must not hide the others."""
    if isinstance(answer, dict) and "refused" in answer:
        return Sighting(name, trouble=str(answer["refused"]))
    try:
        reading: Reading = decode(answer["line"], Reading)
    except (msgspec.DecodeError, KeyError, TypeError):
        return Sighting(name, trouble="what it tells of its devices is not understood: is the same version there?")
    odd = [device.id for device in reading.devices if not _DEVICE.fullmatch(device.id)]
    if odd:
        return Sighting(name, trouble=f"it tells of a device named {odd[0][:40]!r}")
    return Sighting(name, reading.boot, reading.devices, reading.trouble)


def _one_of_a_name(sightings: Iterable[Sighting]) -> tuple[Sighting, ...]:
    """For a while Ray counts a machine twice that came back; two that answer can't be told apart."""
    found: dict[str, Sighting] = {}
    for seen in sightings:
        before = found.get(seen.node)
        if before is None or before.trouble:
            found[seen.node] = seen
        elif not seen.trouble:
            found[seen.node] = Sighting(seen.node, trouble="several machines of the cluster have this name")
    return tuple(found.values())


def _actor(ray: Any, class_: type, node_id: str, **options: Any) -> Any:
    strategies = importlib.import_module("ray.util.scheduling_strategies")
    here = strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
    made = ray.remote(num_cpus=0, max_restarts=0)(class_)
    return made.options(scheduling_strategy=here, **options).remote()


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def _place() -> None:
    order: Order = decode(sys.stdin.buffer.readline(), Order)
    try:
        placed = place(connect(order.ray), order)
    except (RayAway, OrderRefused) as error:
        placed = Placed(refused=str(error))
    _answer(placed)


def _watch() -> None:
    question: Question = decode(sys.stdin.buffer.readline(), Question)
    try:
        watch = Watch(connect(question.ray), question)
    except RayAway as error:
        _answer(Seen(trouble=str(error)))
        return
    while sys.stdin.buffer.readline():
        try:
            seen = watch.look()
        except Exception as error:  # noqa: BLE001 - Ray throws what it likes when its head is gone
            _answer(Seen(trouble=f"the Ray cluster at {question.ray.address} does not answer: {_short(error)}"))
            return
        _answer(seen)


def _answer(value: Any) -> None:
    os.write(_ANSWERS, encode(value) + b"\n")


if __name__ == "__main__":
    _ANSWERS = os.dup(1)
    os.dup2(2, 1)  # Ray prints to the output, which is for answers alone
    {"place": _place, "watch": _watch}[sys.argv[1]]()
