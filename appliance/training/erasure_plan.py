"""What a file led to, and what erasing it does to each of these: values in, a plan out. The values are `erasure_facts`'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from appliance.registry.models import AdapterState

STOPPED = (AdapterState.REJECTED, AdapterState.WITHDRAWN)


class Kind(StrEnum):
    """What a thing is that was made of a file, or needs it."""

    BYTES = "bytes"
    DATASET = "dataset"
    JOB = "job"
    ATTEMPT = "attempt"
    CHECKPOINT = "checkpoint"
    ADAPTER = "adapter"
    REPORT = "report"
    MERGED = "merged"
    ENGINE = "engine"
    ALIAS = "alias"


class Act(StrEnum):
    """What an erasure does to it."""

    REMOVE = "remove"
    CANCEL = "cancel and remove"
    WITHDRAW = "withdraw and remove"
    UNLOAD = "unload"
    KEEP = "keep"


@dataclass(frozen=True)
class Item:
    """One line of a plan."""

    kind: Kind
    name: str
    act: Act
    digest: str = ""
    state: str = ""
    why: str = ""

    def facts(self) -> dict[str, Any]:
        """As scripts and certificates have it."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class FileFacts:
    """The file. `shared_with`: the tenant's other files with the same bytes. `is_being_cleaned`: a process reads it now."""

    id: str
    sha256: str
    shared_with: tuple[str, ...] = ()
    is_being_cleaned: bool = False


@dataclass(frozen=True)
class DatasetFacts:
    """What cleaning made of it."""

    id: str
    digest: str
    rows: int


@dataclass(frozen=True)
class JobFacts:
    """A fine-tune that trained on the file or was validated with it. Attempts and checkpoints by name and digest."""

    id: str
    status: str
    is_over: bool
    is_held: bool = False
    attempts: tuple[str, ...] = ()
    checkpoints: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class AdapterFacts:
    """What such a fine-tune made, and where it is in use. `merged` has the copy's digest, "" before it is whole."""

    name: str
    digest: str
    state: AdapterState
    is_checked: bool = False
    engines: tuple[str, ...] = ()
    merged: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Descent:
    """A file and all that came of it."""

    file: FileFacts
    dataset: DatasetFacts | None = None
    jobs: tuple[JobFacts, ...] = ()
    adapters: tuple[AdapterFacts, ...] = ()


def plan(descent: Descent) -> tuple[Item, ...]:
    """Everything that a file led to, each with what an erasure does to it."""
    return (*_of_file(descent), *(item for job in descent.jobs for item in _of_job(job)),
            *(item for adapter in descent.adapters for item in _of_adapter(adapter)))  # fmt: skip


def _of_file(descent: Descent) -> Iterator[Item]:
    file, dataset = descent.file, descent.dataset
    if file.shared_with:
        why = f"uploaded as {', '.join(file.shared_with)} too"
        yield Item(Kind.BYTES, file.id, Act.KEEP, file.sha256, why=why)
    else:
        yield Item(Kind.BYTES, file.id, Act.REMOVE, file.sha256)
    if dataset is not None:
        yield Item(Kind.DATASET, dataset.id, Act.REMOVE, dataset.digest, state=f"{dataset.rows} rows")
        yield Item(Kind.REPORT, f"cleaning of {file.id}", Act.REMOVE)


def _of_job(job: JobFacts) -> Iterator[Item]:
    yield Item(Kind.JOB, job.id, Act.REMOVE if job.is_over else Act.CANCEL, state=job.status)
    for attempt in job.attempts:
        yield Item(Kind.ATTEMPT, attempt, Act.REMOVE)
    for name, digest in job.checkpoints:
        yield Item(Kind.CHECKPOINT, name, Act.REMOVE, digest)


def _of_adapter(adapter: AdapterFacts) -> Iterator[Item]:
    act = Act.REMOVE if adapter.state in STOPPED else Act.WITHDRAW
    yield Item(Kind.ADAPTER, adapter.name, act, adapter.digest, state=adapter.state.value)
    if adapter.is_checked:
        yield Item(Kind.REPORT, f"checks of {adapter.name}", Act.REMOVE)
    if adapter.merged is not None:
        yield Item(Kind.MERGED, adapter.name, Act.REMOVE, adapter.merged)
    for engine in adapter.engines:
        yield Item(Kind.ENGINE, engine, Act.UNLOAD, adapter.digest, why=f"has {adapter.name}")
    for alias in adapter.aliases:
        why = f"stands for {adapter.name} or has it as its canary; it is not changed, and answers 404 without another model"
        yield Item(Kind.ALIAS, alias, Act.KEEP, why=why)


def holds_up(descent: Descent) -> tuple[str, ...]:
    """Who still writes or reads what is to be removed, and ends by itself: nothing is removed before."""
    reading = (f"{descent.file.id} is being cleaned",) if descent.file.is_being_cleaned else ()
    jobs = (f"{job.id} has not stopped yet" for job in descent.jobs if job.is_held or not job.is_over)
    states = (f"{one.name} is {one.state.value}" for one in descent.adapters if one.state not in STOPPED)
    return (*reading, *jobs, *states)


def in_engines(descent: Descent) -> tuple[str, ...]:
    """Which engines still have an adapter in their memory; these are waited for, but not for ever."""
    loaded = (f"{engine} has {one.name} loaded" for one in descent.adapters for engine in one.engines)
    merged = (f"the merged copy of {one.name} is still there" for one in descent.adapters if one.merged is not None)
    return (*loaded, *merged)
