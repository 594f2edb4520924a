"""Builds merged models, has them served, and takes them away again, as `merged` says; a thread of the pool's process.

A copy is named by the digests of what it was made of, lies in the data directory under `merged`, and is verified before
an engine gets it. It goes with its adapter: a copy that no row wants is deleted.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.db import close_old_connections, connection, transaction
from django.utils import timezone

from appliance.audit.record import record
from appliance.fleet.fit import refuse_misfit
from appliance.fleet.merged import Case, Step, ask_for, deployment_of, merges, next_step
from appliance.fleet.models import Deployment, Replica
from appliance.registry.models import Adapter, AdapterState, MergedModel, ModelVersion
from finetune import manifest
from finetune.merge.errors import MergeError
from finetune.merge.run import folder_name, run_merge
from inference.catalog.errors import CatalogError
from inference.engines.vllm import NEVER_ADAPTED, without_adapters
from inference.pool import metrics
from inference.pool.adapter_modules import Limits, check_adapter
from inference.pool.backoff import delay_s
from inference.pool.errors import AdapterRefused

log = logging.getLogger("coderack.merging")

FOLDER = "merged"
LOOK_EVERY_S = 3.0
_RETRY_LATER_S = 600.0  # what can't be merged now is tried again now and then: a disk may have room by then


@dataclass(frozen=True)
class _Wanted:
    """An adapter with what is there of its merged model, and the deployment that serves its base."""

    adapter: Adapter
    row: MergedModel | None
    base: Deployment | None
    own: Deployment | None


class Merging:
    """`merge` is `finetune.merge.run.run_merge`, or what a test has in its place. One at a time: the pool's lock says so."""

    def __init__(self, data_dir: Path, merge: Callable[..., str] = run_merge) -> None:
        self._folder = data_dir / FOLDER
        self._merge = merge
        self._wake = threading.Event()
        self._leaving = False
        self._kill: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="merging", daemon=True)

    def start(self) -> None:
        """Begin to look, until `leave`."""
        self._thread.start()

    def leave(self) -> None:
        """End soon; a merge under way is ended and begun anew by the next pool."""
        self._leaving = True
        self._wake.set()
        self._kill()
        self._thread.join(0.3)  # the pool has two seconds; what the thread does may be cut off anywhere

    def _run(self) -> None:
        try:
            while not self._leaving:
                try:
                    close_old_connections()
                    self.look()
                except Exception:
                    # The top of the loop: while the database is away nothing can be said of any adapter.
                    log.exception("merged models could not be looked at, and will be again")
                    metrics.FAULTS.labels("merging").inc()
                self._wake.wait(LOOK_EVERY_S)
        finally:
            connection.close()

    def look(self) -> None:
        """Do what is due for every adapter, one step each. A merge takes long: one comes last, the others look anew."""
        unbuilt: list[_Wanted] = []
        for wanted in _all_wanted():
            if self._leaving:
                return
            with _apart(wanted.adapter):
                step = next_step(self._case(wanted))
                if step is Step.BUILD:
                    unbuilt.append(wanted)
                else:
                    self._do(step, wanted)
        self._sweep()
        for wanted in sorted(unbuilt, key=lambda one: one.row.failures if one.row else 0)[:1]:
            with _apart(wanted.adapter):
                self._build(wanted)

    def _case(self, wanted: _Wanted) -> Case:
        adapter, row, own = wanted.adapter, wanted.row, wanted.own
        built = row is not None and row.version is not None and (self._place(adapter) / manifest.FILE_NAME).is_file()
        return Case(
            state=AdapterState(adapter.state), tenant_is_active=adapter.tenant.is_active,
            merges=None if wanted.base is None else merges(wanted.base), is_asked=row is not None, is_built=built,
            is_running=own is not None and own.running,
            has_engines=own is not None and Replica.objects.filter(deployment=own).exists(),
            is_as_wanted=own is None or wanted.base is None or _settings(own) == _settings_for(wanted.base),
            may_try=row is not None and (row.retry_at is None or row.retry_at <= timezone.now()),
        )  # fmt: skip

    def _do(self, step: Step, wanted: _Wanted) -> None:
        match step:
            case Step.ASK:
                ask_for(wanted.adapter)
            case Step.SERVE:
                self._serve(wanted)
            case Step.STOP:
                _stop(wanted)
            case Step.REMOVE:
                self._remove(wanted)

    def _place(self, adapter: Adapter) -> Path:
        return self._folder / folder_name(adapter.base.digest, adapter.digest)

    def _build(self, wanted: _Wanted) -> None:
        adapter, row, base = wanted.adapter, wanted.row, wanted.base
        if row is None or base is None:
            return
        log.info("%s: merging it into %s", adapter.name, adapter.base.name)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            digest = self._merged(adapter, base)
        except (AdapterRefused, CatalogError, MergeError, OSError) as error:
            if not self._leaving:
                _failed(row, str(error), not isinstance(error, OSError) and getattr(error, "permanent", True))
            return
        _take_in(row, adapter, self._place(adapter), digest)

    def _merged(self, adapter: Adapter, base: Deployment) -> str:
        """The digest of a copy that is whole: one that is there, or a new one."""
        place, path = self._place(adapter), Path(adapter.path)
        whole = place.is_dir() and not manifest.verify(place)
        if whole:
            return manifest.read(place).digest
        # the copy is as large as its base, and may be asked for while other cards are here than when that was served
        refuse_misfit(adapter.base, without_adapters(tuple(base.flags)), base.devices_each, base.profile)
        model = Path(adapter.base.path)
        check_adapter(path, adapter.digest, Limits(model.resolve(), adapter.rank, NEVER_ADAPTED))
        return self._merge(
            Path(base.slot.path) / "bin" / "python", (model, adapter.base.digest), (path, adapter.digest), place,
            adapter.name, self._folder / f".{place.name}.log", self._started,
        )  # fmt: skip

    def _started(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        if self._leaving:
            kill()

    def _serve(self, wanted: _Wanted) -> None:
        """Start its engine, or start it anew as its base's are now; what changed on the disk is built again."""
        row, base = wanted.row, wanted.base
        if row is None or row.version is None or base is None:
            return
        place = self._place(wanted.adapter)
        faults = [] if wanted.own is not None and wanted.own.running else _faults(place, row.version.digest)
        if faults:
            log.error("%s: its merged model is built again: %s", wanted.adapter.name, "; ".join(faults[:3]))
            shutil.rmtree(place, ignore_errors=True)
            return
        _run_as(base, row.version, wanted.own)

    def _remove(self, wanted: _Wanted) -> None:
        """The rows first: a copy that no row wants is swept away, also after a crash in between."""
        row, own = wanted.row, wanted.own
        if row is None:
            return
        with transaction.atomic():
            version = row.version
            row.delete()
            if own is not None:
                own.delete()
            if version is not None:
                version.delete()
            record("adapter.unmerge", wanted.adapter.name, tenant=wanted.adapter.tenant_id)
        log.info("%s: its merged model is taken away", wanted.adapter.name)

    def _sweep(self) -> None:
        """Delete the copies that no row wants, and what an ended merge left."""
        with contextlib.suppress(FileNotFoundError):
            there = list(self._folder.iterdir())
            if not there:
                return
            rows = MergedModel.objects.select_related("adapter__base")
            wanted = {self._place(row.adapter).name for row in rows}
            for path in there:
                if path.name.strip(".").partition(".")[0] in wanted and path.suffix in ("", ".log"):
                    continue
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def _apart(adapter: Adapter) -> Iterator[None]:
    """What goes wrong with one adapter must keep neither the others nor the sweep waiting."""
    try:
        yield
    except Exception:
        # The top of one adapter's work: it is looked at again soon.
        log.exception("%s: its merged model could not be looked after", adapter.name)
        metrics.FAULTS.labels("merging").inc()


def _all_wanted() -> list[_Wanted]:
    """Every adapter that has a merged model or may need one."""
    serving = {row.model_id: row for row in _serving()}
    bases = [model_id for model_id, row in serving.items() if merges(row)]
    rows = {row.adapter_id: row for row in MergedModel.objects.select_related("version", "adapter")}
    if not bases and not rows:
        return []
    adapters = Adapter.objects.select_related("base", "tenant")
    found = adapters.filter(pk__in=rows) | adapters.filter(base__in=bases, state=AdapterState.ACTIVE)
    return [
        _Wanted(one, row, serving.get(one.base_id), None if row is None else deployment_of(row))
        for one in found.order_by("created_at")
        for row in (rows.get(one.pk),)
    ]


def _serving() -> list[Deployment]:
    return list(Deployment.objects.select_related("model", "slot").filter(running=True, serves=True))


def _settings(row: Deployment) -> dict[str, object]:
    return {name: getattr(row, name) for name in ("slot_id", "devices_each", "profile", "max_model_len", "flags")}


def _settings_for(base: Deployment) -> dict[str, object]:
    """How the merged model of an adapter on this base is to run; one engine, placed like any other."""
    return _settings(base) | {"flags": list(without_adapters(tuple(base.flags)))}


def _faults(place: Path, digest: str) -> list[str]:
    faults = manifest.verify(place)
    if not faults and manifest.read(place).digest != digest:
        return ["it is not the one that was made"]
    return faults


def _failed(row: MergedModel, reason: str, permanent: bool) -> None:
    row.failures += 1
    wait_s = _RETRY_LATER_S if permanent else delay_s(row.failures)
    row.reason, row.retry_at = reason, timezone.now() + timedelta(seconds=wait_s)
    row.save(update_fields=("failures", "reason", "retry_at"))
    log.error("%s: it can't be merged: %s", row.adapter.name, reason)


def _take_in(row: MergedModel, adapter: Adapter, place: Path, digest: str) -> None:
    """The copy's row, or the new digest of one that was built again."""
    with transaction.atomic():
        values = {"path": str(place), "digest": digest}
        if row.version is None:
            base = adapter.base
            row.version = ModelVersion.objects.create(
                name=adapter.name, preset=base.preset, max_model_len=base.max_model_len, fim=base.fim,
                owned_by=adapter.tenant_id, **values,
            )  # fmt: skip
        else:
            ModelVersion._base_manager.filter(pk=row.version.pk).update(**values)
        row.failures, row.reason, row.retry_at = 0, "", None
        row.save()
        record("adapter.merge", adapter.name, tenant=adapter.tenant_id, details={"digest": digest})


def _run_as(base: Deployment, version: ModelVersion, own: Deployment | None) -> None:
    row = own or Deployment(model=version, serves=False)
    for name, value in _settings_for(base).items():
        setattr(row, name, value)
    row.running, row.replicas, row.may_pause = True, 1, True
    row.save()


def _stop(wanted: _Wanted) -> None:
    if wanted.own is not None:
        Deployment.objects.filter(pk=wanted.own.pk).update(running=False)
