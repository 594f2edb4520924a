"""The batches' process: takes up what nobody works on, fairly among tenants, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from django.db import Error

from appliance.batches import lease, metrics
from appliance.batches.client import Gateway
from appliance.batches.finish import sweep
from appliance.batches.rows import RowThread
from appliance.batches.work import Gates, Work

log = logging.getLogger("coderack.batches")
LOOK_S = 1.0
MOST_AT_ONCE = 16
MOST_OF_A_TENANT = 2


def choose(
    waiting: Sequence[tuple[str, str]],
    running: Iterable[str],
    most: int = MOST_AT_ONCE,
    most_of_a_tenant: int = MOST_OF_A_TENANT,
) -> list[str]:
    """Which batches to take up. `waiting`: batch and tenant, oldest first; `running`: the tenants of those at work."""
    counts, chosen = Counter(running), []
    for batch_id, tenant_id in waiting:
        if counts.total() < most and counts[tenant_id] < most_of_a_tenant:
            counts[tenant_id] += 1
            chosen.append(batch_id)
    return chosen


class Batches:
    """What this process works on."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._rows = RowThread()
        self._works: dict[asyncio.Task[None], tuple[Work, str, str]] = {}

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until stopped; what is not over then is left to the next process."""
        async with Gateway(self._base_url) as gateway:
            gates = Gates(gateway)
            await self._once_there(stop)
            while not stop.is_set():
                await self._pass(gates)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_S)
            for work, _, _ in self._works.values():
                work.stop()
            await asyncio.gather(*self._works, return_exceptions=True)
        self._rows.close()

    async def _once_there(self, stop: asyncio.Event) -> None:
        """Clear up what killed processes left, as soon as the database answers."""
        while not stop.is_set():
            try:
                await self._rows(sweep)
            except Error as error:
                log.warning("the database can't be reached, trying again: %s", str(error).partition("\n")[0])
                await asyncio.sleep(LOOK_S)
            else:
                return

    async def _pass(self, gates: Gates) -> None:
        try:
            unheld = await self._rows(lease.unheld)
            # a lease that ran out while the database was away is renewed by who works here, not taken from it
            own = {batch_id for _, batch_id, _ in self._works.values()}
            waiting = [one for one in unheld if one[0] not in own]
            tenants = dict(waiting)
            for batch_id in choose(waiting, [tenant for _, _, tenant in self._works.values()]):
                fence = await self._rows(lambda: lease.claim(batch_id))  # noqa: B023 - awaited within this round
                if fence is not None:
                    self._begin(Work(batch_id, fence, gates, self._rows), batch_id, tenants[batch_id])
        except Error as error:
            log.warning("batches can't be looked for, trying again: %s", str(error).partition("\n")[0])
            return
        metrics.LAST_PASS.set_to_current_time()

    def _begin(self, work: Work, batch_id: str, tenant_id: str) -> None:
        task = asyncio.create_task(_guarded(work, batch_id))
        self._works[task] = (work, batch_id, tenant_id)
        metrics.WORKED_ON.set(len(self._works))
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._works[task]
        metrics.WORKED_ON.set(len(self._works))


async def _guarded(work: Work, batch_id: str) -> None:
    try:
        await work.run()
    except Error as error:
        log.warning("%s: the database can't be reached; its lease runs out first: %s", batch_id, error)
    except Exception:
        # the top of the loop: one batch's trouble must not end the others', and after its lease it is tried again
        log.exception("%s broke off", batch_id)
        metrics.FAULTS.inc()
