"""The first step: whether everything still holds that held when the upgrade was planned. It changes nothing."""

from __future__ import annotations

from appliance.operations import facts
from appliance.operations.upgrade_steps.base import PREFLIGHT, RowStep
from ops.upgrade.errors import StepRefused
from ops.upgrade.preflight import BESIDE, Allowed, findings, refusals, strategy


class Preflight(RowStep):
    """Devices, disk, engine and the version served now, looked at again."""

    name = PREFLIGHT

    def check(self) -> None:
        """Raises: StepRefused with a line for each reason."""
        known = self.details()
        allowed = Allowed(bool(known["interrupt"]), bool(known["without_adapters"]), self.upgrade.rollback)
        served, machine = facts.served(self.upgrade.name), facts.machine(self.upgrade.name, besides=self.upgrade)
        found = findings(facts.offer_of(self.upgrade), served, machine, allowed)
        reasons = refusals(found)
        if not reasons and served is not None and self.upgrade.strategy == BESIDE != strategy(served, machine):
            reasons = ["the devices that were free when this was planned are taken now: plan again"]
        if not reasons and facts.serving(self.upgrade.name) != self.upgrade.from_deployment:
            reasons = [f"another version of {self.upgrade.name} is served than when this was planned: plan again"]
        if reasons:
            raise StepRefused("\n".join(reasons))

    def apply(self) -> None:
        """Remember how much of it was served: from here on nobody else changes that."""
        old = self.old()
        self.note(replicas=old.replicas, devices_each=old.devices_each)
