"""The old version's engines answer what they have and end."""

from __future__ import annotations

import time

from django.db.models import QuerySet

from appliance.fleet.models import Deployment
from appliance.operations.engines import wait_gone, wait_idle, wait_ready
from appliance.operations.upgrade_steps.base import RowStep
from ops.upgrade.preflight import INSTEAD


class Drain(RowStep):
    """The last step. The old deployment keeps its row, for a rollback."""

    name = "drain"

    def apply(self) -> None:
        """Let them answer what they have, have them end, and wait until they have.

        Raises: StepFailed.
        """
        begin = time.monotonic()
        wait_idle(self.old(), self.tell)
        self._old().update(running=False, replicas=self.replicas)
        wait_gone(self.old(), self.tell)
        self.note(drained_after_s=round(time.monotonic() - begin, 1))

    def undo(self) -> None:
        """Bring them back before the name is given back; where there is no room for both, that is for later steps.

        Raises: StepFailed.
        """
        if self.upgrade.strategy == INSTEAD:
            self._old().update(running=True, replicas=0)
            return
        self._old().update(running=True, replicas=self.replicas)
        wait_ready(self.old(), self.tell)

    def _old(self) -> QuerySet[Deployment]:
        return Deployment.objects.filter(pk=self.old().pk)
