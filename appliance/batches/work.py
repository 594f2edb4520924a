"""One batch in the hands of one holder: look at its row, do what its state asks for, look again, until it is over or lost."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from functools import partial

from django.conf import settings
from django.db import Error
from django.utils import timezone

from appliance.batches import lease, metrics
from appliance.batches.asking import Asking
from appliance.batches.client import Gateway
from appliance.batches.errors import BatchLost, DiskFull
from appliance.batches.finish import assemble, finish
from appliance.batches.gate import Gate
from appliance.batches.keeper import NO_ROOM, RETRY_S, Keeper
from appliance.batches.keys import OpenKey, close_keys, extend, open_key
from appliance.batches.lines import Fault
from appliance.batches.models import Batch
from appliance.batches.pace import Pace
from appliance.batches.pulse import End, beat, began, look
from appliance.batches.reading import check_file, numbered
from appliance.batches.results import Done, ResultFile, batch_dir, read_done
from appliance.batches.rows import RowThread
from appliance.batches.states import TERMINAL, BatchStatus
from appliance.training import files

log = logging.getLogger("coderack.batches")
GRACE_S = 60.0  # for what runs when a batch is cancelled or expires
STOP_GRACE_S = 4.0  # for what runs when this process ends
KEY_SETTLES_S = 10.0  # the gateway's workers hear of a key within a second
KEY_LOOK_S = 0.3
_S = BatchStatus
ENDS = {End.CANCELLED: _S.CANCELLED, End.EXPIRED: _S.EXPIRED, End.REFUSED: _S.FAILED}


class Gates:
    """The gates of this process, one for each tenant and model."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._gates: dict[tuple[str, str], Gate] = {}

    def of(self, tenant_id: str, model: str) -> Gate:
        """The gate of a tenant's requests to a model."""
        return self._gates.setdefault((tenant_id, model), Gate(Pace()))


class Work:
    """A claim on a batch. `run` returns once the batch is over, lost, or this process ends."""

    def __init__(self, batch_id: str, fence: int, gates: Gates, rows: RowThread) -> None:
        self._batch_id, self._fence = batch_id, fence
        self._gates, self._rows = gates, rows
        self._stopping = self._lost = False
        self._asking: Asking | None = None
        self._keeper: Keeper | None = None
        self._key: OpenKey | None = None
        self._key_since = 0.0
        self._key_lock = asyncio.Lock()
        self._note = ""
        self._task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """The process ends: leave the batch to the next one."""
        self._stopping = True
        if self._asking is not None:
            self._asking.halt()

    async def run(self) -> None:
        """Work, and let go of the batch afterwards."""
        self._task = asyncio.create_task(self._steps())
        heart = asyncio.create_task(self._heart())
        try:
            await asyncio.wait({self._task, heart}, return_when=asyncio.FIRST_COMPLETED)
            if heart.done() and not self._task.done():
                self._task.cancel()
                await asyncio.wait({self._task})
                await heart  # what it met
            if not (self._lost and self._task.cancelled()):
                await self._task
        finally:
            heart.cancel()
            self._task.cancel()
        await self._let_go()

    async def _let_go(self) -> None:
        """Not where it broke off: then the lease runs out first, so that what is broken is not tried at once."""

        def let_go() -> None:
            batch = Batch.objects.filter(pk=self._batch_id, fence=self._fence).first()
            if batch is not None:
                close_keys(batch)
                lease.release(self._batch_id, self._fence)

        if not self._lost:
            await self._rows(let_go)

    async def _heart(self) -> None:
        while True:
            await asyncio.sleep(lease.RENEW_S)
            try:
                await self._beat()
            except Error as error:
                # nobody else can take the batch while the database is away, and the next beat tries again
                log.warning("%s: the lease could not be renewed: %s", self._batch_id, str(error).partition("\n")[0])
            except BatchLost:
                continue  # the next beat tells

    async def _beat(self) -> None:
        keeper, asking = self._keeper, self._asking
        note = (keeper.note if keeper else "") or (asking.note if asking else "") or self._note
        done = keeper.done if keeper else None
        found = await self._rows(partial(beat, self._batch_id, self._fence, done, note))
        if found is None:
            self._lost = True
            if self._task is not None:
                self._task.cancel()
            return
        if found.end is not None and self._asking is not None:
            self._asking.halt()
        if self._key is not None and not await self._rows(partial(extend, self._key)):
            await self._new_key(self._key.secret)

    async def _steps(self) -> None:
        while not self._stopping:
            batch = await self._rows(self._load)
            if batch is None or BatchStatus(batch.status) in TERMINAL:
                return
            try:
                await self._step(batch)
            except BatchLost:
                continue  # it was moved meanwhile: its row says what is next

    def _load(self) -> Batch | None:
        rows = lease.held(self._batch_id, self._fence)
        return rows.select_related("tenant", "key", "input_file").first()

    async def _step(self, batch: Batch) -> None:
        status, found = BatchStatus(batch.status), look(batch, timezone.now())
        if status is _S.FINALIZING:
            await self._end(batch, status, _S.COMPLETED, None)
        elif found.end is not None:
            await self._end(batch, status, ENDS[found.end], found.fault)
        elif status is _S.VALIDATING:
            await self._validate(batch)
        else:
            await self._ask(batch)

    async def _validate(self, batch: Batch) -> None:
        path, most = files.path(batch.input_file), settings.ENV.max_body_bytes
        checked = await asyncio.to_thread(check_file, path, batch.endpoint, most)
        if checked.faults:
            finishing = partial(finish, batch, self._fence, _S.VALIDATING, _S.FAILED, None, list(checked.faults))
            await self._rows(finishing)
        elif not await self._rows(partial(began, batch.pk, self._fence, checked.num_lines, checked.model)):
            raise BatchLost(batch.pk)

    async def _ask(self, batch: Batch) -> None:
        """Ask what is not done; afterwards the batch's state is as it was, or `finalizing`."""
        folder = batch_dir(batch.tenant_id, batch.pk)
        done = await asyncio.to_thread(read_done, folder)
        if len(done.lines) < batch.num_lines:
            await self._ask_lines(batch, done)
        if len(done.lines) >= batch.num_lines:
            moved = partial(lease.move, batch.pk, self._fence, _S.IN_PROGRESS, _S.FINALIZING)
            if not await self._rows(moved):
                raise BatchLost(batch.pk)

    async def _ask_lines(self, batch: Batch, done: Done) -> None:
        file = ResultFile(batch_dir(batch.tenant_id, batch.pk), self._fence)
        keeper = Keeper(file, done)
        writing = asyncio.create_task(keeper.run())
        try:
            self._key, self._key_since = await self._rows(partial(open_key, batch.pk, self._fence)), time.monotonic()
            asking = Asking(
                batch.endpoint, self._gates.gateway, self._gates.of(batch.tenant_id, batch.model), keeper,
                self._present_key, self._key_refused,
            )  # fmt: skip
            self._asking, self._keeper = asking, keeper
            if self._stopping:
                return
            lines = numbered(files.path(batch.input_file), settings.ENV.max_body_bytes)
            await asking.run(lines, lambda: self._grace_s(keeper))
        finally:
            self._asking = self._keeper = self._key = None
            writing.cancel()
            file.close()

    def _grace_s(self, keeper: Keeper) -> float:
        """For what runs at the end; what is answered and finds no room on the disk is not given up for a cancellation."""
        if self._stopping:
            return STOP_GRACE_S
        return math.inf if keeper.note else GRACE_S

    def _present_key(self) -> str:
        assert self._key is not None  # noqa: S101 - lines are asked with a key only
        return self._key.secret

    async def _key_refused(self, secret: str) -> None:
        """The gateway does not know a key: a new one takes a moment, one that was revoked is replaced."""
        await asyncio.sleep(KEY_LOOK_S)
        if time.monotonic() - self._key_since > KEY_SETTLES_S:
            try:
                await self._new_key(secret)
            except (Error, BatchLost) as error:
                log.warning("%s: no new key: %s", self._batch_id, str(error).partition("\n")[0])

    async def _new_key(self, secret: str) -> None:
        async with self._key_lock:
            if self._key is not None and self._key.secret == secret:
                self._key = await self._rows(partial(open_key, self._batch_id, self._fence))
                self._key_since = time.monotonic()

    async def _end(self, batch: Batch, status: BatchStatus, to_status: BatchStatus, fault: Fault | None) -> None:
        """Put the files together and end the batch; a disk without room is waited for."""
        made = None
        if status is not _S.VALIDATING and batch.num_lines:
            try:
                made = await asyncio.to_thread(assemble, batch, settings.ENV.max_body_bytes, fault)
            except (DiskFull, OSError) as error:
                log.warning("%s: its files can't be written (%s); trying again", batch.pk, error)
                self._note = NO_ROOM
                metrics.DISK_WAITS.inc()
                await asyncio.sleep(RETRY_S)
                return
        if made is not None and fault is None and len(made.done.lines) < batch.num_lines:
            made.drop()
            log.warning("%s: answers are missing on the disk; these lines are asked again", batch.pk)
            if not await self._rows(partial(lease.move, batch.pk, self._fence, status, _S.IN_PROGRESS)):
                raise BatchLost(batch.pk)
            return
        faults = [fault] if fault is not None and to_status is _S.FAILED else []
        await self._rows(partial(finish, batch, self._fence, status, to_status, made, faults))
