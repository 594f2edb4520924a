"""Records: what operators can change of a deployment or a plan, and what is left to commands and upgrades."""

from __future__ import annotations

import pytest
from django.urls import reverse

from appliance.audit.models import AuditEntry
from appliance.fleet.models import Deployment
from appliance.operations.models import Upgrade, UpgradeState
from appliance.tenants.keys import KeyLimits, mint
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


def _post_plan(cast: Cast, **fields: str) -> tuple[int, str]:
    """Save the form of the plan; the answer's status and page."""
    page = cast.client("operator").get(reverse("admin:tenants_plan_change", args=(cast.plan.pk,)))
    initial = page.context["adminform"].form.initial
    form = {name: "" if value is None else str(value) for name, value in initial.items()} | {"model_limits": "{}"}
    answer = cast.client("operator").post(page.request["PATH_INFO"], form | fields)
    cast.plan.refresh_from_db()
    return answer.status_code, answer.content.decode()


def test_a_plans_limits_in_time_can_be_changed_and_taken_away(cast: Cast) -> None:
    limits = {"requests_per_minute": "60", "tokens_per_day": "1000", "monthly_budget_micros": "2500000"}
    assert _post_plan(cast, **limits, max_concurrency="", model_limits='{"m": {"max_concurrency": 2}}')[0] == 302
    plan = cast.plan
    assert (plan.requests_per_minute, plan.tokens_per_day, plan.monthly_budget_micros) == (60, 1000, 2_500_000)
    assert plan.max_concurrency is None
    assert plan.model_limits == {"m": {"max_concurrency": 2}}
    assert AuditEntry.objects.filter(action="plan.change").exists()
    assert _post_plan(cast, model_limits="")[0] == 302
    assert plan.model_limits == {}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[1]", "Write it as"),
        ('{"m": 5}', "Write it as"),
        ('{"m": {"tokens_per_day": 5}}', "Unknown limits: tokens_per_day."),
        ('{"m": {"max_concurrency": 0}}', "whole numbers above 0"),
        ('{"m": {"max_concurrency": true}}', "whole numbers above 0"),
        ('{"m": {"max_concurrency": 1e400}}', "whole numbers above 0"),
        ('{"m": {"max_concurrency": 10000000000000000}}', "whole numbers above 0"),
        ("null", ""),
        ("{", "Enter a valid JSON."),
    ],
)
def test_limits_of_models_that_can_not_be_are_refused_where_they_were_written(
    cast: Cast, written: str, said: str
) -> None:
    status, page = _post_plan(cast, model_limits=written)
    assert status == (200 if said else 302)
    assert said in page
    assert cast.plan.model_limits == {}


def test_a_keys_limits_are_there_to_read(cast: Cast) -> None:
    row, _ = mint(cast.acme, "ci", limits=KeyLimits(requests_per_minute=4321))
    page = cast.client("operator").get(reverse("admin:tenants_apikey_change", args=(row.pk,))).content.decode()
    assert "4321" in page
