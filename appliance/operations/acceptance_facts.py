"""What an acceptance run reads from rows: the box it is made on, the ledger; and the engines' own counters from them."""

from __future__ import annotations

import importlib.metadata
import re
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from appliance.env import REPO
from appliance.fleet.models import Deployment, Device, EngineLife, Replica
from appliance.ledger.models import LedgerEntry
from appliance.operations.models import Upgrade, UpgradeState
from appliance.tenants.models import Tenant
from inference.engines import engine_kind
from inference.engines.errors import EngineError
from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable
from inference.pool.settings import PoolSettings
from inference.pool.states import ReplicaState
from ops.acceptance.certificate import Box
from ops.acceptance.errors import CannotRun
from ops.acceptance.evidence import Entry, Reading
from ops.acceptance.workload import Limits

POLL_S = 0.5
READ_S = 0.4  # below the margin that a reading's moment is known by
ENGINE = PoolSettings.engine_kind
_SEQUENCES = "--max-num-seqs"


@dataclass(frozen=True)
class Served:
    """What serves a model: its deployment and the engines' lives, by their replica's name and devices."""

    deployment: Deployment
    lives: dict[str, tuple[str, tuple[str, ...]]]

    @property
    def model_path(self) -> Path:
        """Where its weights and its tokenizer lie."""
        return Path(self.deployment.model.path)


def served(model: str) -> Served:
    """What serves a model at the moment.

    Raises: CannotRun when it is unknown, not wholly ready, or in the middle of an upgrade.
    """
    row = Deployment.objects.filter(name=model, running=True, serves=True).select_related("model", "slot").first()
    if row is None:
        names = Deployment.objects.filter(running=True, serves=True).order_by("name").values_list("name", flat=True)
        raise CannotRun(f"no model {model!r} is served; there are: {', '.join(names) or 'none'}")
    if Upgrade.objects.filter(state=UpgradeState.RUNNING).exists():
        raise CannotRun("an upgrade is running: wait for its end, `coderack upgrade list` shows it")
    lives = lives_of(row)
    if len(lives) != row.replicas:
        raise CannotRun(f"{len(lives)} of {row.replicas} replicas of {model} are ready: see `coderack status`")
    return Served(row, lives)


def lives_of(row: Deployment) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The lives of a deployment's ready engines."""
    ready = Replica.objects.filter(deployment=row, state=ReplicaState.READY.value).exclude(life=None).order_by("index")
    return {str(r.life_id): (f"{row.name}/{r.index}", tuple(r.devices)) for r in ready}


def limits(row: Deployment, tenant: Tenant) -> Limits:
    """What a run on this deployment may ask for."""
    plan = tenant.plan
    if plan.allowed_models is not None and row.name not in plan.allowed_models:
        raise CannotRun(
            f"the plan {plan.name!r} of the tenant {tenant.id!r} leaves {row.name} out: add it under Records"
        )
    return Limits(
        min(row.max_model_len, plan.max_context_tokens),
        _sequences(row.flags, row.replicas),
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def _sequences(flags: Sequence[str], replicas: int) -> int | None:
    for flag, following in zip(flags, (*flags, "")[1:], strict=True):
        name, _, value = flag.replace("_", "-").partition("=")
        if name == _SEQUENCES and (value or following).isdigit():
            return int(value or following) * replicas
    return None


def box(found: Served) -> Box:
    """The box as its rows describe it."""
    row = found.deployment
    used = {device for _, devices in found.lives.values() for device in devices}
    return Box(
        devices=tuple(
            {"id": d.id, "kind": d.kind, "name": d.name, "memory_bytes": d.memory_bytes, "used": d.id in used}
            for d in Device.objects.order_by("id")
        ),
        engine={"slot": row.slot.name, "version": row.slot.engine_version, "slot_digest": row.slot.digest},
        model={"name": row.model.name, "digest": row.model.digest, "preset": row.model.preset},
        deployment={
            "id": str(row.pk), "replicas": row.replicas, "devices_each": row.devices_each, "context": row.max_model_len,
            "flags": list(row.flags),
        },
        software={"version": importlib.metadata.version("coderack"), "commit": _commit()},
    )  # fmt: skip


def _commit() -> str | None:
    """The commit of a checkout, marked where files differ from it; None where this is none."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"], cwd=REPO, capture_output=True,
            text=True, check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    text = done.stdout.strip()
    return text if done.returncode == 0 and re.fullmatch(r"[0-9a-f]{40}(-dirty)?", text) else None


def entries(lives: Sequence[str], key_id: str, since: datetime) -> list[Entry]:
    """What the ledger books on these lives or on this key since a moment."""
    rows = LedgerEntry.objects.filter(finished_at__gte=since)
    found = rows.filter(life_id__in=lives) | rows.filter(key_id=key_id)
    return [
        Entry(
            row.request_id, str(row.life_id) if row.life_id else None, row.key_id == key_id, row.started_at.timestamp(),
            row.finished_at.timestamp(), row.prompt_tokens, row.cached_tokens, row.completion_tokens,
            row.engine_prompt_tokens, row.exact,
        )
        for row in found
    ]  # fmt: skip


@dataclass
class Watch:
    """The idle readings of some lives' counters, from the engines themselves."""

    lives: tuple[str, ...]
    readings: dict[str, list[Reading]] = field(default_factory=dict)

    def look(self) -> None:
        """Read each engine, and keep what was read while nothing ran or waited."""
        for life_id, socket in EngineLife.objects.filter(id__in=self.lives, ended_at=None).values_list("id", "socket"):
            if reading := _read(EngineClient(Path(socket))):
                self.readings.setdefault(str(life_id), []).append(reading)

    def of(self, life_id: str) -> list[Reading]:
        """A life's idle readings, oldest first."""
        return self.readings.get(life_id, [])

    def wait(self, enough: Callable[[], bool], timeout_s: float) -> bool:
        """Look again and again; False when it was not enough in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.look()
            if enough():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)


def _read(client: EngineClient) -> Reading | None:
    """An idle engine's counters; None where it is busy, gone, or so slow that the moment is not known well enough."""
    kind = engine_kind(ENGINE)
    begin = time.time()
    try:
        answer = client.get(kind.METRICS_PATH, READ_S)
        at = time.time()
        counters = kind.parse_counters(answer.body.decode(errors="replace"), at)
    except (EngineUnreachable, EngineError):
        return None
    if answer.status != 200 or counters.running or counters.waiting or not 0 <= at - begin < READ_S:
        return None
    return Reading(at, counters.prompt_tokens, counters.generation_tokens)


def utc_text(at: datetime) -> str:
    """A moment as a certificate writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
