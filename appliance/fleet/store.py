"""The pool's view of the database: what the supervisor asks and tells, as rows. Decisions stay in inference.pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import UUID

from django.db import close_old_connections, connection, transaction
from django.utils import timezone

from appliance.fleet import leases, loans
from appliance.fleet.inventory import save_inventory
from appliance.fleet.models import AdapterLoad, Deployment, DeviceOwner, EngineLife, Replica, Sample
from appliance.fleet.owning import forget_expired
from appliance.registry.models import LOADED_STATES, Adapter, MergedModel
from inference.catalog.checkpoint import needs_merging
from inference.engines.histogram import Histogram
from inference.pool.states import ReplicaState
from inference.pool.store import Counters, DesiredAdapter, DesiredDeployment, DeviceInfo, Life, Load, ReplicaRow

SAMPLES_KEPT = timedelta(days=7)
PRUNE_EVERY_S = 600.0
LOOK_EVERY_S = 5.0
_DECIDE_ON_MERGING = ("base__deployment__slot__flavour", "base__path")
# A lease that runs out changes no row. The triggers behind the generation: migrations 0002, 0004 and 0010.
STAMP_SQL = """
SELECT value, (SELECT string_agg(device_id, ' ' ORDER BY device_id) FROM fleet_deviceowner
               WHERE job_id IS NOT NULL AND expires_at > statement_timestamp())
FROM gateway_generation
"""
SAVE_COUNTERS_SQL = """
UPDATE fleet_enginelife SET prompt_tokens = %s, generation_tokens = %s, requests_running = %s, requests_waiting = %s,
    kv_usage = %s, counters_at = %s
WHERE id = %s
"""
_THREAD = threading.local()

P = ParamSpec("P")
T = TypeVar("T")


def fresh_connection(call: Callable[P, T]) -> Callable[P, T]:
    """The pool's threads live for weeks: a connection that broke or grew old is dropped before it is used again.

    One that works is looked at every few seconds only, as each look is a question to the database.
    """

    @wraps(call)
    def withfresh_connection(*args: P.args, **kwargs: P.kwargs) -> T:
        now = time.monotonic()
        if connection.errors_occurred or now - getattr(_THREAD, "looked_at", -LOOK_EVERY_S) >= LOOK_EVERY_S:
            close_old_connections()
            _THREAD.looked_at = now
        return call(*args, **kwargs)

    return withfresh_connection


class DatabaseStore:
    """inference.pool.store's protocol over Django's models. `stop_marker` exists while the whole appliance is to stop."""

    def __init__(self, stop_marker: Path) -> None:
        self._stop_marker = stop_marker
        self._pruned_at = 0.0

    @fresh_connection
    def stamp(self) -> object:
        """The directory's generation, which every change of these rows raises as a part of it, and the devices lent."""
        return stamp()

    @fresh_connection
    def desired(self) -> list[DesiredDeployment]:
        """Every deployment, the stopped ones too, so that their replicas are drained."""
        return all_desired()

    @fresh_connection
    def replicas(self) -> list[ReplicaRow]:
        """Every replica with its present life."""
        return all_replicas()

    @fresh_connection
    def save_devices(self, devices: list[DeviceInfo]) -> None:
        """Replace the pool's inventory with what was just seen."""
        save_inventory(devices, None)

    @fresh_connection
    def create_replica(self, deployment_id: str, index: int, devices: tuple[str, ...]) -> ReplicaRow | None:
        """A new place for an engine, not yet started, and the owner of its devices; None when somebody else got one."""
        with transaction.atomic():
            row = Replica.objects.create(
                deployment_id=UUID(deployment_id), index=index, devices=list(devices), state=ReplicaState.STOPPED.value
            )
            forget_expired(devices)
            owners = [DeviceOwner(device_id=device, replica=row) for device in sorted(devices)]
            DeviceOwner.objects.bulk_create(owners, ignore_conflicts=True)
            if DeviceOwner.objects.filter(replica=row).count() != len(devices):
                transaction.set_rollback(True)
                return None
        return _row(row)

    @fresh_connection
    def leased_devices(self) -> set[str]:
        """The devices that fine-tunes hold."""
        return leases.leased()

    wishes = staticmethod(fresh_connection(loans.wishes))
    lend = staticmethod(fresh_connection(loans.lend))
    hand_over = staticmethod(fresh_connection(loans.hand_over))
    ask_back = staticmethod(fresh_connection(loans.ask_back))
    take_back = staticmethod(fresh_connection(loans.take_back))

    @fresh_connection
    def move(self, replica_id: str, from_state: ReplicaState, to_state: ReplicaState, reason: str = "") -> bool:
        """Change a state if it still is what the caller saw; False when somebody was first."""
        changed = Replica.objects.filter(id=replica_id, state=from_state.value).update(
            state=to_state.value, reason=reason, state_since=timezone.now()
        )
        return changed == 1

    @fresh_connection
    def begin_life(self, replica_id: str, life: Life) -> None:
        """An engine process began in this replica."""
        with transaction.atomic():
            replica = (
                Replica.objects.select_related("deployment__model").select_for_update(of=("self",)).get(id=replica_id)
            )
            EngineLife.objects.create(
                id=life.id, replica=replica, model_name=replica.deployment.model.name, pid=life.pid,
                pid_started=life.pid_started, socket=str(life.socket), log=str(life.log), started_at=_utc(life.started_at),
                way=life.way,
            )  # fmt: skip
            Replica.objects.filter(id=replica_id).update(life_id=life.id)

    @fresh_connection
    def end_life(self, life_id: str, reason: str, counters: Counters | None) -> None:
        """An engine process ended; its counters stay as they were last read. Ending it again changes nothing."""
        if counters is not None:
            self.save_counters(life_id, counters)
        with transaction.atomic():
            Replica.objects.filter(life_id=UUID(life_id)).update(life=None)
            EngineLife.objects.filter(id=life_id, ended_at=None).update(
                ended_at=timezone.now(), end_reason=reason, requests_running=0, requests_waiting=0
            )

    @fresh_connection
    def save_counters(self, life_id: str, counters: Counters) -> None:
        """The engine's own token counters, as just read: each engine's every few seconds, hence the plain statement."""
        with connection.cursor() as cursor:
            cursor.execute(
                SAVE_COUNTERS_SQL,
                (
                    *(counters.prompt_tokens, counters.generation_tokens, counters.running, counters.waiting),
                    *(counters.kv_usage, _utc(counters.at), life_id),
                ),
            )

    @fresh_connection
    def set_backoff(self, replica_id: str, restarts: int, next_start_at: float | None) -> None:
        """When the replica may be started again."""
        at = None if next_start_at is None else _utc(next_start_at)
        Replica.objects.filter(id=replica_id).update(restarts=restarts, next_start_at=at)

    @fresh_connection
    def delete_replica(self, replica_id: str) -> None:
        """The place is no longer wanted; its lives stay for reconciliation."""
        Replica.objects.filter(id=replica_id).delete()

    @fresh_connection
    def desired_adapters(self) -> list[DesiredAdapter]:
        """The adapters under test and in use of active tenants whose base is being served; those under test first."""
        rows = (
            Adapter.objects.filter(state__in=LOADED_STATES, base__deployment__running=True, tenant__is_active=True)
            .order_by("-state", "created_at")
            .values_list("id", "name", "base__deployment__id", "path", "digest", "rank", "pinned", *_DECIDE_ON_MERGING)
        )
        return [
            DesiredAdapter(str(id_), name, str(deployment_id), Path(path), digest, rank, pinned)
            for id_, name, deployment_id, path, digest, rank, pinned, flavour, base in rows
            if not needs_merging(flavour, Path(base))  # an engine of its own serves it
        ]

    @fresh_connection
    def adapter_loads(self, life_id: str) -> dict[str, bool]:
        """What is on record of one engine's life."""
        rows = AdapterLoad.objects.filter(life_id=UUID(life_id)).values_list("adapter_id", "loaded")
        return {str(adapter_id): loaded for adapter_id, loaded in rows}

    @fresh_connection
    def record_adapter(self, life_id: str, adapter_id: str, loaded: bool, reason: str) -> None:
        """An adapter was loaded, or why it could not be. Nothing happens when the adapter was deleted meanwhile."""
        with transaction.atomic():
            if Adapter.objects.select_for_update(of=("self",)).filter(id=adapter_id).exists():
                AdapterLoad.objects.update_or_create(
                    life_id=UUID(life_id), adapter_id=UUID(adapter_id), defaults={"loaded": loaded, "reason": reason}
                )

    @fresh_connection
    def forget_adapter(self, life_id: str, adapter_id: str) -> None:
        """The engine does not have it, or is about to lose it."""
        AdapterLoad.objects.filter(life_id=UUID(life_id), adapter_id=UUID(adapter_id)).delete()

    def stop_requested(self) -> bool:
        """Whether the whole appliance is to stop."""
        return self._stop_marker.exists()

    @fresh_connection
    def record_sample(self, model: str, load: Load, at: float) -> None:
        """Keep one reading of a model's throughput and latencies; readings older than a week go."""
        Sample.objects.create(
            model_name=model, input_tps=load.input_tps, output_tps=load.output_tps, running=load.running,
            waiting=load.waiting, kv_usage=load.kv_usage, at=_utc(at),
            ttft_p50_ms=_quantile_ms(load.ttft, 0.5), ttft_p99_ms=_quantile_ms(load.ttft, 0.99),
            tpot_p50_ms=_quantile_ms(load.tpot, 0.5), tpot_p99_ms=_quantile_ms(load.tpot, 0.99),
        )  # fmt: skip
        if time.monotonic() - self._pruned_at > PRUNE_EVERY_S:
            self._pruned_at = time.monotonic()
            Sample.objects.filter(at__lt=timezone.now() - SAMPLES_KEPT).delete()


def stamp() -> object:
    """Another one whenever a deployment, replica, adapter, attached server, tenant or lease is another."""
    with connection.cursor() as cursor:
        cursor.execute(STAMP_SQL)
        return cursor.fetchone()


def all_desired() -> list[DesiredDeployment]:
    """Every deployment as the pool sees it."""
    return [desired_of(row) for row in Deployment.objects.select_related("model__merged__adapter__base", "slot")]


def all_replicas() -> list[ReplicaRow]:
    """Every replica as the pool sees it."""
    return [_row(row) for row in Replica.objects.select_related("life")]


def desired_of(row: Deployment) -> DesiredDeployment:
    """A deployment as the pool sees it."""
    merged: MergedModel | None = getattr(row.model, "merged", None)
    return DesiredDeployment(
        id=str(row.id),
        name=row.model.name,
        model=row.model.name,
        model_path=Path(row.model.path),
        model_digest=row.model.digest,
        preset=row.model.preset,
        slot_python=row.slot.python,
        replicas=row.replicas,
        devices_each=row.devices_each,
        flags=tuple(row.flags),
        max_model_len=row.max_model_len,
        running=row.running,
        restart=row.restart,
        may_pause=row.may_pause,
        placement=row.placement,
        pinned=tuple(row.pinned),
        lending=loans.lending_of(row),
        counted_as="" if merged is None else merged.adapter.base.name,
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _quantile_ms(histogram: Histogram, share: float) -> float | None:
    value = histogram.quantile(share)
    return None if value is None else 1000 * value


def _row(row: Replica) -> ReplicaRow:
    life = row.life
    return ReplicaRow(
        id=str(row.id),
        deployment_id=str(row.deployment_id),
        index=row.index,
        state=ReplicaState(row.state),
        reason=row.reason,
        devices=tuple(row.devices),
        life=None
        if life is None
        else Life(
            id=str(life.id), pid=life.pid, pid_started=life.pid_started, socket=Path(life.socket), log=Path(life.log),
            started_at=life.started_at.timestamp(), way=life.way,
        ),
        restarts=row.restarts,
        next_start_at=None if row.next_start_at is None else row.next_start_at.timestamp(),
        loan=loans.loan_of(row),
    )  # fmt: skip
