"""The end of a batch: its output and error file put together, registered and named by the batch in one transaction.

Done again after a kill, it makes the same of what is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
from django.db import transaction

from appliance.batches import lease
from appliance.batches.answers import failed
from appliance.batches.errors import BatchLost
from appliance.batches.keys import close_keys
from appliance.batches.lines import Fault, read
from appliance.batches.models import Batch
from appliance.batches.reading import numbered
from appliance.batches.results import Done, batch_dir, read_all, require_room
from appliance.batches.states import WORKABLE, BatchStatus
from appliance.training import files
from appliance.training.models import StoredFile

PURPOSE = "batch_output"


class _Making:
    """A file that is being written under a temporary name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO = path.open("wb")

    def add(self, text: bytes) -> None:
        """One more line."""
        data = text + b"\n"
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def close(self) -> str:
        """Have it on the disk; its SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def drop(self) -> None:
        """Remove the temporary name."""
        self._file.close()
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Made:
    """The two files with their digests, and what is in them."""

    output: tuple[_Making, str]
    errors: tuple[_Making, str]
    done: Done

    def drop(self) -> None:
        """Remove the temporary names."""
        for making, _ in (self.output, self.errors):
            making.drop()


def assemble(batch: Batch, max_line_bytes: int, undone: Fault | None) -> Made:
    """Write both files under temporary names. `undone` is what the lines without a result are said to have met.

    Raises: DiskFull, OSError.
    """
    attempts = batch_dir(batch.tenant_id, batch.pk)
    folder = files.tenant_dir(batch.tenant_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = sum(path.stat().st_size for path in attempts.glob("*")) if attempts.exists() else 0
    for left in folder.glob(f".{batch.pk}-*"):  # by a holder that was killed
        left.unlink(missing_ok=True)
    require_room(folder, size)
    output, errors = (_Making(folder / f".{batch.pk}-{batch.fence}-{name}") for name in ("output", "errors"))
    try:
        done = Done()
        for result in read_all(attempts):
            if done.add(result):
                (output if result.ok else errors).add(result.text)
        if undone is not None:
            _add_undone(batch, max_line_bytes, undone, done, errors)
        return Made((output, output.close()), (errors, errors.close()), done)
    except BaseException:
        output.drop()
        errors.drop()
        raise


def _add_undone(batch: Batch, max_line_bytes: int, undone: Fault, done: Done, errors: _Making) -> None:
    for number, raw in numbered(files.path(batch.input_file), max_line_bytes):
        if number in done.lines:
            continue
        try:
            custom_id = read(raw).custom_id
        except msgspec.MsgspecError:
            continue  # the file was never found to be whole
        result = failed(number, custom_id, undone.code, undone.message)
        done.add(result)
        errors.add(result.text)


def finish(
    batch: Batch, fence: int, from_status: BatchStatus, to_status: BatchStatus, made: Made | None, faults: list[Fault]
) -> None:
    """Register what was made and move the batch to its last state, both or neither.

    Raises: BatchLost when it was moved meanwhile, or is not this holder's any more.
    """
    changes: dict[str, object] = {"note": "", "lease_expires_at": None, "lease_holder": ""}
    if faults:
        changes["errors"] = [fault.to_dict() for fault in faults]
    try:
        with transaction.atomic():
            row = lease.held(batch.pk, fence).select_for_update().filter(status=from_status.value).first()
            if row is None:
                raise BatchLost(batch.pk)
            if made is not None:
                changes |= _counts(made.done)
                changes["output_file"] = _registered(row, "output", *made.output)
                changes["error_file"] = _registered(row, "error", *made.errors)
            close_keys(row)
            if not lease.move(batch.pk, fence, from_status, to_status, **changes):
                raise BatchLost(batch.pk)
    finally:
        if made is not None:
            made.drop()
    shutil.rmtree(batch_dir(batch.tenant_id, batch.pk), ignore_errors=True)


def _counts(done: Done) -> dict[str, object]:
    return {
        "num_completed": done.num_completed, "num_failed": done.num_failed, "input_tokens": done.usage.input,
        "cached_tokens": done.usage.cached, "output_tokens": done.usage.output,
    }  # fmt: skip


def _registered(batch: Batch, name: str, making: _Making, digest: str) -> StoredFile | None:
    """The file's row; None for one that holds nothing."""
    if making.size == 0:
        return None
    row = StoredFile(
        tenant_id=batch.tenant_id, key_id=batch.key_id, purpose=PURPOSE, filename=f"{batch.pk}_{name}.jsonl",
        bytes=making.size, sha256=digest, status=StoredFile.Status.PROCESSED,
    )  # fmt: skip
    return files.keep(making.path, row)


def sweep() -> None:
    """Remove what batches that are over left on the disk, in case the process that ended them was killed."""
    root = batch_dir("", "")
    for folder in root.glob("*/*"):
        if not Batch.objects.filter(pk=folder.name, status__in=[one.value for one in WORKABLE]).exists():
            shutil.rmtree(folder, ignore_errors=True)
