"""Only where devices are short: the old version's engines end first. The name stays known and answers 503 until the switch."""

from __future__ import annotations

from appliance.fleet.models import Deployment
from appliance.operations.engines import wait_gone, wait_ready
from appliance.operations.upgrade_steps.base import RowStep


class MakeRoom(RowStep):
    """The old deployment goes on serving its name, with no replicas."""

    name = "make_room"

    def check(self) -> None:
        """Nothing is ended for a version that does not fit.

        Raises: StepFailed.
        """
        self.refuse_misfit()

    def apply(self) -> None:
        """End the old engines.

        Raises: StepFailed.
        """
        self._want(0)
        wait_gone(self.old(), self.tell)

    def undo(self) -> None:
        """Bring them back.

        Raises: StepFailed.
        """
        self._want(self.replicas)
        wait_ready(self.old(), self.tell)

    def _want(self, replicas: int) -> None:
        Deployment.objects.filter(pk=self.old().pk).update(replicas=replicas)
