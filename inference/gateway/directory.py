"""The directory in memory: keys, models and ready replicas as one immutable snapshot, and how to ask it.

Loading and keeping it fresh is `directory_feed`'s. A snapshot outlives the database's absence; expiry goes by the
clock.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Key:
    """An active key of an active tenant, with what its plan grants. `expires_at` is in Unix seconds."""

    key_id: str
    tenant_id: str
    max_context_tokens: int
    default_max_tokens: int
    allowed_models: frozenset[str] | None
    expires_at: float | None

    def allows(self, model: str) -> bool:
        """Whether the plan includes a model."""
        return self.allowed_models is None or model in self.allowed_models


@dataclass(frozen=True)
class Model:
    """A model that should be served."""

    name: str
    owned_by: str
    created: int
    max_model_len: int
    path: Path
    fim: bool


@dataclass(frozen=True)
class Replica:
    """A ready engine."""

    replica_id: str
    life_id: str
    model: str
    socket: str


@dataclass(frozen=True)
class Snapshot:
    """One consistent state of the directory. `generation` is -1 before the first load."""

    generation: int = -1
    keys: Mapping[str, Key] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    replicas: Mapping[str, tuple[Replica, ...]] = field(default_factory=dict)

    @property
    def num_replicas(self) -> int:
        """How many engines are ready."""
        return sum(len(replicas) for replicas in self.replicas.values())


class Directory:
    """The current snapshot, replaced as a whole."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot or Snapshot()

    def find_key(self, digest: str) -> Key | None:
        """The active, unexpired key of a digest."""
        key = self.snapshot.keys.get(digest)
        if key is None or (key.expires_at is not None and key.expires_at <= time.time()):
            return None
        return key

    def find_model(self, name: str) -> Model | None:
        """A model that should be served, ready or not."""
        return self.snapshot.models.get(name)

    def replicas(self, model: str) -> tuple[Replica, ...]:
        """The ready replicas of a model."""
        return self.snapshot.replicas.get(model, ())
