"""What one machine is told to start, as a value that travels: to the tether in a file, to the node through Ray.

It holds no secret: the certificate is the tether's public half.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from inference.devices.info import DeviceInfo
from inference.engines.spec import EngineSpec
from inference.pool.settings import RaySettings


@dataclass(frozen=True)
class Order:
    """One engine on one machine. `spec` is as that machine sees it: its own devices' names, paths that exist there.

    `node_devices` counts all devices of the machine; `model` is a fingerprint of the model's files, `digest` their
    manifest's SHA-256; `wish` is where the pool says what the engine's adapters are, on its own machine; `address` and
    `certificate` are known once the tether runs.
    """

    life_id: str
    node: str
    engine_kind: str
    spec: EngineSpec
    node_devices: int
    model: str
    digest: str
    wish: Path
    python: Path
    root: Path
    ray: RaySettings
    address: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Placed:
    """Where an engine's node process listens, and its certificate; or why there is none."""

    host: str = ""
    port: int = 0
    certificate: str = ""
    refused: str = ""


def encode(value: Any) -> bytes:
    """As one line of JSON."""
    return msgspec.json.encode(value, enc_hook=str)


def decode(data: bytes | str, type_: type[Any]) -> Any:
    """Raises: msgspec.DecodeError, ValidationError among them, for what is no such value."""
    return msgspec.json.decode(data, type=type_, dec_hook=lambda wanted, found: wanted(found))


@dataclass(frozen=True)
class Question:
    """What is to be told of the machines; `devices` as in the appliance's settings."""

    ray: RaySettings
    devices: str
    run_dir: Path
    python: Path
    root: Path


@dataclass(frozen=True)
class Sighting:
    """A machine's devices, under the names they have there, or what the trouble is. `boot` tells machines apart."""

    node: str
    boot: str = ""
    devices: tuple[DeviceInfo, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Seen:
    """All machines of the cluster at one moment, or why nobody can see them."""

    nodes: tuple[Sighting, ...] = ()
    trouble: str = ""
