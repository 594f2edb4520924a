"""The new version's engines, made like the old ones' and not yet asked by anybody."""

from __future__ import annotations

import time

from django.db import transaction

from appliance.fleet.deployments import lock_name
from appliance.fleet.fit import context_of
from appliance.fleet.models import Deployment
from appliance.operations.engines import wait_gone, wait_ready
from appliance.operations.upgrade_steps.base import RowStep
from ops.upgrade.errors import StepFailed


class Beside(RowStep):
    """A second deployment of the name, which does not serve it."""

    name = "beside"

    def apply(self) -> None:
        """Start its engines and wait until all of them are ready.

        Raises: StepFailed where they don't fit, or with the reason of one that failed.
        """
        begin = time.monotonic()
        self.refuse_misfit()
        self._deploy()
        ready = wait_ready(self.new(), self.tell)
        devices = [device for row in ready for device in row.devices]
        lives = [str(row.life_id) for row in ready]
        self.note(devices=devices, lives=lives, ready_after_s=round(time.monotonic() - begin, 1))

    @transaction.atomic
    def _deploy(self) -> None:
        model, old = self.upgrade.to_model, self.old()
        if model is None:
            raise StepFailed("there is no version to serve: its import is not on record")
        lock_name(self.upgrade.name)
        row = Deployment.objects.filter(model=model).first() or Deployment(model=model)
        row.slot, row.flags, row.devices_each, row.replicas = old.slot, old.flags, old.devices_each, self.replicas
        row.placement, row.pinned = old.placement, old.pinned
        row.profile, row.max_model_len = old.profile, context_of(model, tuple(old.flags), old.profile)
        row.running, row.serves = True, False
        row.canary_share, row.canary_since = 0, None
        row.save()
        self.upgrade.to_deployment = row
        self.upgrade.save(update_fields=("to_deployment",))

    def undo(self) -> None:
        """End them.

        Raises: StepFailed.
        """
        if self.upgrade.to_deployment_id is None:
            return
        Deployment.objects.filter(pk=self.upgrade.to_deployment_id, serves=False).update(running=False, canary_share=0)
        wait_gone(self.new(), self.tell)
