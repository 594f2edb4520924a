"""The directory in memory: keys, models, adapters and ready replicas as one immutable snapshot, and how to ask it.

Models can only be asked for with a key, so that no caller can show one tenant another's adapters.
Loading and keeping it fresh is `directory_feed`'s. A snapshot outlives the database's absence; expiry goes by the
clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.gateway.attached import Attached
from inference.gateway.limits.gates import Limits, NamedGate, Prices

DEFAULT_SEQUENCES = 256  # of a replica that does not say how many it runs at once


@dataclass(frozen=True)
class Allowance:
    """The limits in time that hold for a key: its tenant's, its own, and those of single models in the plan.

    `named` keeps the gates that were made of them, by key and base model, for as long as the limits hold.
    """

    tenant: Limits
    key: Limits
    models: Mapping[str, Limits]
    prices: Prices
    named: dict[tuple[str, str], tuple[NamedGate, ...]] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Key:
    """An active key of an active tenant, with what its plan grants. `expires_at` is in Unix seconds.

    Without an allowance nothing is limited in time. `lane` is empty for interactive use, else "batch" or "evaluation";
    `weight` is the tenant's share against others where engines are full. `logged`: its tenant has its conversations kept.
    What a key uses of its own limits counts with that of the key `limits_of`. `names`: the only ones that it may ask for,
    of models and aliases; `allowed_models` are the plan's base models and adapters.
    """

    key_id: str
    tenant_id: str
    max_context_tokens: int
    default_max_tokens: int
    allowed_models: frozenset[str] | None
    expires_at: float | None
    allowance: Allowance | None = None
    lane: str = ""
    weight: int = 100
    logged: bool = False
    limits_of: str = ""
    names: frozenset[str] | None = None

    def asks_for(self, name: str) -> bool:
        """Whether the key itself may ask for a name."""
        return self.names is None or name in self.names

    def sees(self, model: Model) -> bool:
        """Whether the key may know of a model: of its tenant's own adapters, and of every base model."""
        return model.tenant_id is None or model.tenant_id == self.tenant_id

    def allows(self, model: Model) -> bool:
        """Whether the plan includes a model; with a base model come the adapters on it."""
        return self.allowed_models is None or not self.allowed_models.isdisjoint((model.base, model.name))


@dataclass(frozen=True)
class Model:
    """A model that should be served. An adapter has a tenant, and the path and context of its base; others are their own."""

    name: str
    owned_by: str
    created: int
    max_model_len: int
    path: Path
    fim: bool
    tenant_id: str | None
    base: str
    version: str = ""  # of a canary's model: which one answers to the name

    @property
    def served_at(self) -> str:
        """What its replicas are found by."""
        return f"{self.name}\n{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Canary:
    """A share of a name's requests, in percent, that goes to another model: its next version, or an alias' next adapter."""

    model: Model
    share: int


@dataclass(frozen=True)
class Alias:
    """A tenant's own name for a model that it may use. `model` is None while what it stands for, `to`, is not served."""

    name: str
    tenant_id: str
    created: int
    to: str
    model: Model | None
    canary: Canary | None = None

    def show(self, model: Model) -> Model:
        """What it stands for under its own name, as model lists have it."""
        return replace(model, name=self.name, owned_by=self.tenant_id, created=self.created)


@dataclass(frozen=True)
class Replica:
    """A ready engine; `max_sequences` is how many it runs at once, where that is known.

    One that the pool did not start is `attached` and has no socket of ours.
    """

    replica_id: str
    life_id: str
    model: str
    socket: str
    max_sequences: int | None = None
    attached: Attached | None = None

    @property
    def target(self) -> str | Attached:
        """What the engine client knows it by."""
        return self.attached or self.socket

    @property
    def aborts(self) -> bool:
        """Whether it ends requests by id and tells what they had used."""
        return self.attached is None or self.attached.aborts


def max_sequences(replicas: Iterable[Replica]) -> int:
    """How many sequences the largest of these runs at once."""
    return max((one.max_sequences or DEFAULT_SEQUENCES for one in replicas), default=DEFAULT_SEQUENCES)


@dataclass(frozen=True)
class Snapshot:
    """One consistent state of the directory. `generation` is -1 before the first load."""

    generation: int = -1
    keys: Mapping[str, Key] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    replicas: Mapping[str, tuple[Replica, ...]] = field(default_factory=dict)
    logged: frozenset[str] = frozenset()  # tenants whose conversations are kept
    canaries: Mapping[str, Canary] = field(default_factory=dict)
    aliases: Mapping[tuple[str, str], Alias] = field(default_factory=dict)  # by tenant and name

    @property
    def num_replicas(self) -> int:
        """How many engines are ready; each is listed under its model and under every adapter it has."""
        return len({replica.life_id for replicas in self.replicas.values() for replica in replicas})

    @property
    def num_models(self) -> int:
        """How many base models should be served."""
        return sum(1 for model in self.models.values() if model.tenant_id is None)


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

    def find_model(self, name: str, key: Key) -> Model | None:
        """A model that should be served, ready or not; another tenant's adapter, and what the key's own list leaves out, is
        as unknown as a name of nothing."""
        model = self.snapshot.models.get(name)
        return model if model is not None and key.sees(model) and key.asks_for(name) else None

    def canary_of(self, model: Model) -> Canary | None:
        """The canary of a model that serves, where one has a replica that is ready."""
        return self._ready(self.snapshot.canaries.get(model.name))

    def find_alias(self, name: str, key: Key) -> Alias | None:
        """An alias of the key's own tenant, where its list has it; a model of the same name goes first."""
        if name in self.snapshot.models or not key.asks_for(name):
            return None
        return self.snapshot.aliases.get((key.tenant_id, name))

    def canary_of_alias(self, alias: Alias, key: Key) -> Canary | None:
        """The canary of an alias, where the key's plan includes it and it has a replica that is ready."""
        canary = alias.canary
        return self._ready(canary) if canary is not None and key.allows(canary.model) else None

    def _ready(self, canary: Canary | None) -> Canary | None:
        return canary if canary is not None and self.snapshot.replicas.get(canary.model.served_at) else None

    def models_of(self, key: Key) -> list[Model]:
        """What a key may use: base models, its tenant's own adapters, and its tenant's aliases under their names."""
        served = self.snapshot.models
        models = [model for name in served if (model := self.find_model(name, key)) is not None and key.allows(model)]
        for tenant_id, name in self.snapshot.aliases:
            alias = self.find_alias(name, key) if tenant_id == key.tenant_id else None
            if alias is not None and alias.model is not None and key.allows(alias.model):
                models.append(alias.show(alias.model))
        return models

    def replicas(self, model: str) -> tuple[Replica, ...]:
        """The ready replicas of a model."""
        return self.snapshot.replicas.get(model, ())
