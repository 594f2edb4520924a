"""`DELETE /v1/models/{id}`: a tenant gives up an adapter of its own. Listing models is the gateway's."""

from __future__ import annotations

from typing import Any, Literal

from django.urls import register_converter
from django.urls.converters import StringConverter
from ninja import Router, Schema

from appliance.api.auth import KeyRequest
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, AdapterState, Alias
from appliance.training import adapters
from appliance.training.errors import Refused

router = Router(tags=["Models"])

# The states in which an adapter is a model to its tenant: served, or about to be.
_THERE = (AdapterState.WAITING, AdapterState.ACTIVE)


class ModelName(StringConverter):
    """A model's id in an address: slashes may be in it, and not at its end."""

    regex = r".*[^/]"


register_converter(ModelName, "model_name")


class ModelDeleted(Schema):
    """What a deletion answers; `aliases` stood for the model, or had it as their canary."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True
    aliases: list[str]


@router.delete("/{model_name:model_id}", response=ModelDeleted, summary="Withdraw an own fine-tuned model")
def delete(request: KeyRequest, model_id: str) -> dict[str, Any]:
    """For good: it is served no longer, and its record stays."""
    tenant = request.auth.tenant
    names = request.auth.allowed_models
    if not model_id.isprintable() or (names is not None and model_id not in names):
        raise _not_found()
    adapter = Adapter.objects.filter(tenant=tenant, name=model_id, state__in=_THERE).first()
    if adapter is None and Alias.objects.filter(tenant=tenant, name=model_id).exists():
        raise Refused("An alias is removed in the console.", "model")
    if adapter is None:
        allowed = tenant.plan.allowed_models
        served = Deployment.objects.filter(name=model_id, running=True, serves=True).exists()
        if served and (allowed is None or model_id in allowed):
            raise Refused("Base models are the operator's to withdraw.", "model", "model_not_allowed")
        raise _not_found()
    return {"id": adapter.name, "aliases": adapters.withdraw(adapter)}


def _not_found() -> Refused:
    """The gateway's words for a model that is unknown or somebody else's."""
    return Refused("The model does not exist or you have no access to it.", "model", "model_not_found")
