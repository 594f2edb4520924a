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
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.db import transaction
from django.db.models import F

from appliance.env import REPO
from appliance.training import files, progress
from appliance.training.errors import AttemptFailed, BrokeOff
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import Dataset, StoredFile
from appliance.training.planted import planted_secret_file

log = logging.getLogger("coderack.training")

TIMEOUT_S = 7200.0
MAX_TRIES = 3
REFUSED, NO_ROOM = 3, 4  # finetune.data's exit codes: for a file that can't become a dataset, and for a full disk


class BeingMade(Exception):
    """Somebody else makes this dataset at the moment."""

    code = "being_made"
    permanent = False


def ensure_dataset(file: StoredFile, heart: Heartbeat | None = None) -> Dataset:
    """The dataset of a file, made now where there is none.

    Raises: AttemptFailed when the file can't become one, the row then says why; BrokeOff when the pipeline was killed;
    BeingMade where somebody else makes it at the moment; LeaseLost when the heart stops.
    """
    folder = files.dataset_dir(file).parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder / f".{file.pk}.lock"):
        known = Dataset.objects.filter(file=file).first()
        if known is not None and (Path(known.path) / "manifest.json").is_file():
            return known
        for left in folder.glob(f".{file.pk}-*"):  # by a worker that was killed
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(dir=folder, prefix=f".{file.pk}-"))
        try:
            told = _run(file, work, heart)
            return _take_in(file, work, files.dataset_dir(file), told)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One at a time makes a file's dataset; the kernel drops the lock of a process that died."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BeingMade(lock.name) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _run(file: StoredFile, work: Path, heart: Heartbeat | None) -> dict[str, Any]:
    """Run the pipeline; its last line says what came of it."""
    argv = [
        sys.executable, "-m", "finetune.data", str(files.path(file)), f"--filename={file.filename}", "--out", str(work),
        "--secret-file", str(planted_secret_file()), "--parent", str(os.getpid()),
        f"--unwanted-licences={','.join(settings.ENV.unwanted_licences)}",
    ]  # fmt: skip
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    told: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            argv, cwd=REPO, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
        _no_longer_than(TIMEOUT_S, process) as late,
    ):
        if heart is not None:
            heart.when_lost(process.kill)
        try:
            for told in _told(process):
                if told.get("event") == "progress":
                    progress.tell(file, heart, told)
            process.wait()
        finally:
            process.kill()
            if heart is not None:
                heart.when_lost(None)
        errors.seek(0)
        said = errors.read()[-2000:]
    if heart is not None:
        heart.check()
    if late.is_set():
        _refuse(file, "cleaning it took over two hours: upload it in parts")
    if process.returncode == REFUSED:
        _refuse(file, "; ".join(told.get("faults", ())[:10]) or "it can't become a dataset")
    if process.returncode == NO_ROOM:
        log.error("cleaning %s: %s", file.pk, said)
        _refuse(file, "the appliance's disk is nearly full; tell its operator, and upload the file again", "disk_full")
    if process.returncode != 0 or told.get("event") != "prepared":
        log.error("cleaning %s ended with %d: %s", file.pk, process.returncode, said)
        _count_try(file)
    return told


def _count_try(file: StoredFile) -> NoReturn:
    """A full disk or a killed process may pass; a file that fails again and again is given up."""
    StoredFile.objects.filter(pk=file.pk).update(tries=F("tries") + 1)
    if StoredFile.objects.values_list("tries", flat=True).get(pk=file.pk) >= MAX_TRIES:
        _refuse(file, f"cleaning failed {MAX_TRIES} times: ask the operator", "server_error")
    raise BrokeOff(f"cleaning {file.pk} failed")


def _told(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What the pipeline says, line by line, until it ends."""
    for line in process.stdout or ():
        if line.startswith("{") and line.endswith("}\n"):  # a killed process may leave half a line
            yield json.loads(line)


@contextlib.contextmanager
def _no_longer_than(seconds: float, process: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Ends the process after so many seconds; the event then is set."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _refuse(file: StoredFile, reason: str, code: str = "invalid_training_file") -> NoReturn:
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
