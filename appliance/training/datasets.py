"""From an uploaded file to a dataset: finetune.data in a process of its own, its result taken in with one write.

Doing it twice gives the same rows; a crash in between leaves a folder that the next try replaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from appliance.env import REPO
from appliance.training import files
from appliance.training.errors import AttemptFailed, BrokeOff
from appliance.training.models import Dataset, StoredFile
from appliance.training.planted import planted_secret_file

log = logging.getLogger("coderack.training")

TIMEOUT_S = 3600.0
REFUSED = 3  # finetune.data's exit code for a file that can't become a dataset


class BeingMade(Exception):
    """Somebody else makes this dataset at the moment."""

    code = "being_made"
    permanent = False


def ensure_dataset(file: StoredFile, *, wait: bool = True) -> Dataset:
    """The dataset of a file, made now where there is none.

    Raises: AttemptFailed when the file can't become one, the row then says why; BrokeOff when the pipeline was killed;
    BeingMade where somebody else makes it and `wait` is false.
    """
    folder = Path(settings.ENV.data_dir) / "datasets" / file.tenant_id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder / f".{file.pk}.lock", wait):
        known = Dataset.objects.filter(file=file).first()
        if known is not None and (Path(known.path) / "manifest.json").is_file():
            return known
        for left in folder.glob(f".{file.pk}-*"):  # by a worker that was killed
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(dir=folder, prefix=f".{file.pk}-"))
        try:
            told = _run(file, work)
            return _take_in(file, work, folder / file.pk, told)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _alone(lock: Path, wait: bool) -> Iterator[None]:
    """One at a time makes a file's dataset; the kernel drops the lock of a process that died."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise BeingMade(lock.name) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _run(file: StoredFile, work: Path) -> dict[str, Any]:
    """Run the pipeline; its last line says what came of it."""
    argv = [
        sys.executable, "-m", "finetune.data", str(files.path(file)), f"--filename={file.filename}", "--out", str(work),
        "--secret-file", str(planted_secret_file()), "--parent", str(os.getpid()),
    ]  # fmt: skip
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    try:
        done = subprocess.run(
            argv, cwd=REPO, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise AttemptFailed("invalid_training_file", f"cleaning {file.filename} took over an hour") from None
    told = _last_line(done.stdout)
    if done.returncode == REFUSED:
        _refuse(file, "; ".join(told.get("faults", ())[:10]) or "it can't become a dataset")
    if done.returncode < 0:
        raise BrokeOff(f"cleaning {file.pk} was ended by signal {-done.returncode}")
    if done.returncode != 0 or told.get("event") != "prepared":
        log.error("cleaning %s failed: %s", file.pk, done.stderr[-2000:])
        _refuse(file, "cleaning failed; the worker's log says why", "server_error")
    return told


def _last_line(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {}


def _refuse(file: StoredFile, reason: str, code: str = "invalid_training_file") -> None:
    StoredFile.objects.filter(pk=file.pk).update(status=StoredFile.Status.ERROR, status_details=reason)
    raise AttemptFailed(code, f"{file.filename}: {reason}", "training_file")


def _take_in(file: StoredFile, work: Path, target: Path, told: dict[str, Any]) -> Dataset:
    report = json.loads((work / "report.json").read_text(encoding="utf-8"))
    with transaction.atomic():
        if not StoredFile.objects.select_for_update().filter(pk=file.pk, deleted_at=None).exists():
            raise AttemptFailed("file_not_found", f"{file.filename} was deleted meanwhile")
        Dataset.objects.filter(file=file).delete()
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
        row = Dataset.objects.create(
            file=file, kind=told["kind"], path=str(target), digest=told["digest"], rows=told["rows"], report=report
        )
        StoredFile.objects.filter(pk=file.pk).update(status=StoredFile.Status.PROCESSED, status_details="")
    return row
