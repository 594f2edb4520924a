"""What came of a file, from the rows and the disk; and what of it lies in the data directory, with digests."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from appliance.fleet import merging
from appliance.fleet.models import AdapterLoad
from appliance.registry import aliases
from appliance.registry.models import Adapter, AdapterState, MergedModel
from appliance.training import files
from appliance.training.erasure_plan import AdapterFacts, DatasetFacts, Descent, FileFacts, JobFacts, Kind
from appliance.training.folders import job_dir
from appliance.training.models import Dataset, Evaluation, Job, StoredFile
from finetune import manifest
from finetune.files import sha256_of
from finetune.job import TERMINAL
from finetune.merge.run import folder_name

OVER = [status.value for status in TERMINAL]


def descent_of(file: StoredFile) -> Descent:
    """A file and all that came of it, as it is now."""
    dataset = Dataset.objects.filter(file=file).first()
    return Descent(
        file=FileFacts(file.pk, file.sha256, tuple(_shared_with(file)), _is_being_cleaned(file)),
        dataset=None if dataset is None else DatasetFacts(str(dataset.pk), dataset.digest, dataset.rows),
        jobs=tuple(_job(job) for job in jobs_of(file)),
        adapters=tuple(_adapter(adapter) for adapter in adapters_of(file)),
    )


def jobs_of(file: StoredFile) -> QuerySet[Job]:
    """The fine-tunes that trained on a file or were validated with it."""
    return Job.objects.filter(Q(training_file=file) | Q(validation_file=file)).order_by("created_at")


def adapters_of(file: StoredFile) -> QuerySet[Adapter]:
    """The adapters that these made."""
    return Adapter.objects.filter(job__in=jobs_of(file)).select_related("base", "tenant").order_by("created_at")


def merged_dir(adapter: Adapter) -> Path:
    """Where an adapter's merged copy lies."""
    return Path(settings.ENV.data_dir) / merging.FOLDER / folder_name(adapter.base.digest, adapter.digest)


def _shared_with(file: StoredFile) -> list[str]:
    others = StoredFile.objects.filter(tenant_id=file.tenant_id, sha256=file.sha256, deleted_at=None)
    return list(others.exclude(pk=file.pk).order_by("pk").values_list("pk", flat=True))


def _is_being_cleaned(file: StoredFile) -> bool:
    """Whether somebody holds the lock under which a dataset is made."""
    try:
        descriptor = os.open(_lock(file), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(file: StoredFile) -> Path:
    return files.dataset_dir(file).with_name(f".{file.pk}.lock")


def _job(job: Job) -> JobFacts:
    folder = job_dir(job.pk)
    held = job.lease_expires_at is not None and job.lease_expires_at > timezone.now()
    attempts = tuple(f"{job.pk}/{path.name}" for path in sorted(folder.glob("attempts/*")))
    checkpoints = tuple(
        (f"{job.pk}/{path.parent.name}/{path.name}", _digest(path))
        for path in sorted(folder.glob("attempts/*/checkpoint-*"))
    )
    return JobFacts(job.pk, job.status, job.status in OVER, held, attempts, checkpoints)


def _adapter(adapter: Adapter) -> AdapterFacts:
    loads = AdapterLoad.objects.filter(adapter=adapter, loaded=True, life__ended_at=None)
    merged = MergedModel.objects.filter(adapter=adapter).select_related("version").first()
    return AdapterFacts(
        name=adapter.name, digest=adapter.digest, state=AdapterState(adapter.state),
        is_checked=Evaluation.objects.filter(adapter=adapter).exists(),
        engines=tuple(f"engine {life}" for life in loads.order_by("pk").values_list("life_id", flat=True)),
        merged=None if merged is None else (merged.version.digest if merged.version is not None else ""),
        aliases=tuple(aliases.using(adapter).values_list("name", flat=True)),
    )  # fmt: skip


@dataclass(frozen=True)
class Found:
    """Something on the disk that an erasure removes, its path relative to the data directory."""

    kind: Kind
    name: str
    path: str
    digest: str
    bytes: int
    files: int

    def facts(self) -> dict[str, Any]:
        """As rows and certificates have it."""
        return asdict(self) | {"kind": self.kind.value}


def on_disk(file: StoredFile, known: Collection[str] = ()) -> Iterator[Found]:
    """What of a file and all that came of it lies there now; the digests of paths that are known are not reckoned again."""
    for kind, name, path in _places(file):
        if not os.path.lexists(path):
            continue
        relative = str(path.relative_to(settings.ENV.data_dir))
        if relative in known:
            yield Found(kind, name, relative, "", 0, 0)
            continue
        size, count = _extent(path)
        yield Found(kind, name, relative, _digest(path), size, count)


def _places(file: StoredFile) -> Iterator[tuple[Kind, str, Path]]:
    """Inner places before the ones that hold them."""
    yield Kind.DATASET, file.pk, files.dataset_dir(file)
    for left in sorted(files.dataset_dir(file).parent.glob(f".{file.pk}-*")):
        yield Kind.DATASET, f"{file.pk}, half made", left
    for adapter in adapters_of(file):
        if Path(adapter.path).is_relative_to(job_dir(adapter.job.pk)):
            yield Kind.ADAPTER, adapter.name, Path(adapter.path)
        if not _merged_is_wanted(adapter):
            yield Kind.MERGED, adapter.name, merged_dir(adapter)
    for job in jobs_of(file):
        folder = job_dir(job.pk)
        for checkpoint in sorted(folder.glob("attempts/*/checkpoint-*")):
            yield Kind.CHECKPOINT, f"{job.pk}/{checkpoint.parent.name}/{checkpoint.name}", checkpoint
        for attempt in sorted(folder.glob("attempts/*")):
            yield Kind.ATTEMPT, f"{job.pk}/{attempt.name}", attempt
        yield Kind.JOB, job.pk, folder
    if not _shared_with(file):
        yield Kind.BYTES, file.pk, files.path(file)


def _merged_is_wanted(adapter: Adapter) -> bool:
    """Whether another adapter has the same copy: the same data, trained twice, may give the same weights."""
    twins = MergedModel.objects.filter(adapter__digest=adapter.digest, adapter__base__digest=adapter.base.digest)
    return twins.exclude(adapter=adapter).exists()


def _digest(path: Path) -> str:
    """Of a file its SHA-256, of a whole directory its manifest's, of any other one over its files' names and digests."""
    with suppress(FileNotFoundError):
        if path.is_symlink():
            return hashlib.sha256(os.readlink(path).encode()).hexdigest()
        if path.is_file():
            return sha256_of(path)
    with suppress(manifest.NotWhole):
        return manifest.read(path).digest
    total = hashlib.sha256()
    for inner in _inside(path):
        with suppress(FileNotFoundError):  # by a sweep that tidies up beside
            total.update(f"{inner.relative_to(path)}\n{sha256_of(inner)}\n".encode())
    return total.hexdigest()


def _extent(path: Path) -> tuple[int, int]:
    size = count = 0
    for inner in _inside(path) if path.is_dir() and not path.is_symlink() else (path,):
        with suppress(FileNotFoundError):
            size, count = size + inner.lstat().st_size, count + 1
    return size, count


def _inside(path: Path) -> list[Path]:
    return sorted(inner for inner in path.rglob("*") if inner.is_file() and not inner.is_symlink())
