"""What all steps of an upgrade share: its row, their own row with its details, and a line to the person who watches."""

from __future__ import annotations

from typing import ClassVar

from appliance.fleet.fit import refuse_misfit
from appliance.fleet.models import Deployment
from appliance.operations.engines import Tell
from appliance.operations.models import Upgrade, UpgradeStep
from inference.catalog.errors import CatalogError
from ops.upgrade.errors import StepFailed

PREFLIGHT = "preflight"


class RowStep:
    """ops.upgrade's Step over rows. What a step leaves out does nothing; all steps of an upgrade share its row."""

    name: ClassVar[str]

    def __init__(self, upgrade: Upgrade, tell: Tell) -> None:
        self.upgrade = upgrade
        self.tell = tell

    def check(self) -> None:
        """Nothing to look at before."""

    def apply(self) -> None:
        """Nothing to do."""

    def verify(self) -> None:
        """Nothing to look at after."""

    def undo(self) -> None:
        """Nothing to take back."""

    def note(self, **facts: object) -> None:
        """Keep facts in the step's details, for the console and the next try."""
        row = UpgradeStep.objects.get(upgrade=self.upgrade, name=self.name)
        row.detail = {**row.detail, **facts}
        row.save(update_fields=("detail",))

    def details(self, step: str = "") -> dict[str, object]:
        """What is in the details of this step, or of another one."""
        row = UpgradeStep.objects.filter(upgrade=self.upgrade, name=step or self.name).first()
        return dict(row.detail) if row else {}

    @property
    def replicas(self) -> int:
        """How many replicas the old version had when the upgrade began."""
        return int(str(self.details(PREFLIGHT)["replicas"]))

    def refuse_misfit(self) -> None:
        """Judge the new version as `coderack model serve` does: by the old one's flags, cards and memory.

        Raises: StepFailed with the arithmetic.
        """
        model, old = self.upgrade.to_model, self.old()
        if model is None:
            raise StepFailed("there is no version to serve: its import is not on record")
        try:
            refuse_misfit(model, tuple(old.flags), old.devices_each, old.profile)
        except CatalogError as error:
            raise StepFailed(str(error)) from error

    def old(self) -> Deployment:
        """The deployment that served when the upgrade began, as it is now."""
        return _fresh(self.upgrade.from_deployment)

    def new(self) -> Deployment:
        """The new version's deployment, as it is now."""
        return _fresh(self.upgrade.to_deployment)


def _fresh(row: Deployment | None) -> Deployment:
    if row is None:
        raise StepFailed("a deployment of this upgrade was deleted: `coderack model serve` settles on one version")
    return Deployment.objects.select_related("model", "slot").get(pk=row.pk)
