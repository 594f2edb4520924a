"""The new version answers a share of the name's requests for a while, before it is given all of them."""

from __future__ import annotations

import time
from datetime import timedelta

from django.utils import timezone

from appliance.fleet import canaries
from appliance.fleet.models import Deployment
from appliance.operations.upgrade_steps.base import RowStep
from inference.gateway.directory_feed import POLL_S
from ops.upgrade.errors import StepFailed

LOOK_S = 1.0
COMPARE_EVERY = timedelta(seconds=15)


class Canary(RowStep):
    """Only where the plan asked for it. `coderack model canary NAME --off` ends it, and with it the upgrade."""

    name = "canary"

    def apply(self) -> None:
        """Give the share, wait for the planned time, and look how both versions did. Run again, it goes on.

        Raises: StepFailed when the share was taken back, or clearly more of the canary's requests failed.
        """
        planned = self.details()
        if self.new().canary_since is None:
            canaries.set_share(self.upgrade.name, int(str(planned["share"])))
        until = (self.new().canary_since or timezone.now()) + timedelta(minutes=int(str(planned["minutes"])))
        self.tell(f"{planned['share']} % of the requests go to the new version until {until:%H:%M} UTC")
        compare_at = timezone.now()
        while timezone.now() < until:
            if not self.new().canary_share:
                raise StepFailed("its share of the requests was taken back")
            if timezone.now() >= compare_at:
                self._compare()
                compare_at = timezone.now() + COMPARE_EVERY
            time.sleep(LOOK_S)
        self._compare()

    def _compare(self) -> None:
        serving, canary = canaries.compare(self.upgrade.name)
        self.note(
            requests=canary.requests, failed=round(canary.failed, 4), before_failed=round(serving.failed, 4),
            ttft_p50_ms=canary.ttft_p50_ms, before_ttft_p50_ms=serving.ttft_p50_ms,
        )  # fmt: skip
        if canaries.is_worse(serving, canary):
            told = f"{canary.failed:.1%} of its {canary.requests} requests failed, {serving.failed:.1%} of the other's"
            raise StepFailed(f"the new version fails more often: {told}")

    def undo(self) -> None:
        """Take the share back, and wait until every gateway worker knows."""
        new = self.upgrade.to_deployment
        if new and Deployment.objects.filter(pk=new.pk, canary_share__gt=0).update(canary_share=0):
            time.sleep(POLL_S + LOOK_S)
