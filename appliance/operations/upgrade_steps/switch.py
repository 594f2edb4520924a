"""The name goes over to the new version, in one transaction; then a real request through the gateway has to reach it."""

from __future__ import annotations

import time

from django.db import transaction

from appliance.audit.record import record
from appliance.fleet.deployments import lock_name
from appliance.fleet.models import Deployment, EngineLife
from appliance.operations.engines import wait_ready
from appliance.operations.probe import ask_through_the_gateway, revoke_keys
from appliance.operations.upgrade_steps.base import RowStep
from inference.gateway.directory_feed import POLL_S
from ops.upgrade.errors import StepFailed

SETTLE_S = POLL_S + 1.0  # a gateway worker that missed the message reads the directory by then


class Switch(RowStep):
    """Both versions' engines run. Once this is done, or undone, no gateway worker sends the other one anything."""

    name = "switch"

    def apply(self) -> None:
        """Give the name to the new version, whose engines must be ready, and wait until every gateway worker knows.

        Raises: StepFailed.
        """
        wait_ready(self.new(), self.tell)
        self._give(self.new(), self.old())
        self.tell(f"waiting {SETTLE_S:.0f} s until every gateway worker knows")
        time.sleep(SETTLE_S)

    def verify(self) -> None:
        """Raises: StepFailed unless a request for the name is answered, and booked on an engine of the new version."""
        entry = ask_through_the_gateway(self.upgrade)
        lives = EngineLife.objects.filter(replica__deployment=self.upgrade.to_deployment_id)
        if entry.life_id not in set(lives.values_list("pk", flat=True)):
            raise StepFailed(
                f"request {entry.request_id} was answered by engine {entry.life_id}, which is none of the new version"
            )
        self.note(request=entry.request_id, life=str(entry.life_id))

    def undo(self) -> None:
        """Give the name back. A try that was killed may have left its key."""
        revoke_keys(self.upgrade)
        self._give(self.old(), self.new())
        time.sleep(SETTLE_S)

    @transaction.atomic
    def _give(self, to: Deployment, other: Deployment) -> None:
        lock_name(self.upgrade.name)
        Deployment.objects.filter(pk=other.pk).update(serves=False, canary_share=0)
        if Deployment.objects.filter(pk=to.pk, serves=False).update(serves=True, canary_share=0):
            details = {"digest": to.model.digest, "before": other.model.digest, "upgrade": str(self.upgrade.pk)}
            record("model.switch", self.upgrade.name, details=details)
