"""What the copy-ready snippets name: this box's address as the reader sees it, and the models a tenant's keys may use."""

from __future__ import annotations

from django.http import HttpRequest

from appliance.fleet.models import Deployment
from appliance.tenants.models import Tenant

EXAMPLE_MODEL = "MODEL"


def base_url(request: HttpRequest) -> str:
    """Where this reader's programs reach the API: the origin the page itself was asked at."""
    return request.build_absolute_uri("/v1")


def model_names(tenant: Tenant) -> list[str]:
    """The models this tenant's keys may use now."""
    names = Deployment.objects.filter(running=True).order_by("model__name").values_list("model__name", flat=True)
    allowed = tenant.plan.allowed_models
    return [name for name in names if allowed is None or name in allowed]
