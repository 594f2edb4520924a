"""Records: what operators can change of a deployment, and what is left to `coderack model serve` and upgrades."""

from __future__ import annotations

from django.urls import reverse

from appliance.fleet.models import Deployment
from appliance.operations.models import Upgrade, UpgradeState
from tests.appliance.console.cast import Cast


def _post(cast: Cast, row: Deployment, **fields: str) -> int:
    """Save the form of a deployment; the status of the answer, 302 where it was taken."""
    form = {"slot": str(row.slot_id), "replicas": "2", "devices_each": "1", "max_model_len": "8192", "running": "on"}
    address = reverse("admin:fleet_deployment_change", args=(row.pk,))
    status = cast.client("operator").post(address, form | fields).status_code
    row.refresh_from_db()
    return status


def test_replicas_can_be_changed_and_which_version_serves_can_not(cast: Cast, deployment: Deployment) -> None:
    model = deployment.model_id
    assert _post(cast, deployment, flags="", model="", serves="") == 302
    assert (deployment.replicas, deployment.serves, deployment.model_id) == (2, True, model)


def test_during_an_upgrade_of_its_name_a_deployment_is_there_to_read(cast: Cast, deployment: Deployment) -> None:
    model = deployment.model
    upgrade = Upgrade.objects.create(
        name=model.name, digest="d", strategy="beside", state=UpgradeState.RUNNING, from_model=model
    )
    address = reverse("admin:fleet_deployment_change", args=(deployment.pk,))
    assert cast.client("operator").get(address).status_code == 200
    assert _post(cast, deployment, flags="") == 403
    assert deployment.replicas == 1
    upgrade.delete()
    assert _post(cast, deployment, flags="") == 302


def test_a_stopped_one_is_not_begun_by_hand_and_none_is_added(cast: Cast, deployment: Deployment) -> None:
    Deployment.objects.update(running=False)
    deployment.refresh_from_db()
    assert _post(cast, deployment, flags="") == 302
    assert not deployment.running
    assert cast.client("operator").get(reverse("admin:fleet_deployment_add")).status_code == 403
