"""Models: what was verified and may serve, and where it does."""

from __future__ import annotations

from django.db.models import Prefetch
from django.http import HttpResponse
from django.shortcuts import render

from appliance.console.access import PersonRequest, operator_only
from appliance.fleet.models import Deployment
from appliance.registry.models import EngineSlot, ModelVersion


@operator_only
def models(request: PersonRequest) -> HttpResponse:
    """The page."""
    deployments = Prefetch("deployment_set", Deployment.objects.select_related("slot").prefetch_related("replica_rows"))
    context = {
        "versions": ModelVersion.objects.prefetch_related(deployments),
        "slots": EngineSlot.objects.all(),
    }
    return render(request, "console/models.html", context)
