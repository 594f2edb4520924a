"""The control plane's routes. The gateway hands everything here that is not a hot path."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.i18n import set_language

from appliance.console.pages.keys import keys, revoke_key
from appliance.console.pages.login import Login, Logout, editor_login
from appliance.console.pages.models import models
from appliance.console.pages.overview import overview
from appliance.console.pages.serving import serving
from appliance.console.pages.tenant import tenant
from appliance.console.pages.tenants import new, tenants
from appliance.console.pages.usage import usage

form = require_http_methods(["GET", "HEAD", "POST"])

urlpatterns: list[URLPattern | URLResolver] = [
    path("", require_safe(overview), name="overview"),
    path("login/", Login.as_view(), name="login"),
    path("logout/", Logout.as_view(), name="logout"),
    path("language/", login_not_required(require_POST(set_language)), name="set_language"),
    path("serving/", require_safe(serving), name="serving"),
    path("models/", require_safe(models), name="models"),
    path("tenants/", require_safe(tenants), name="tenants"),
    path("tenants/new/", form(new), name="tenant_new"),
    path("tenants/<slug:tenant_id>/", require_safe(tenant), name="tenant"),
    path("tenants/<slug:tenant_id>/keys/", form(keys), name="keys"),
    path("tenants/<slug:tenant_id>/keys/<uuid:key_id>/revoke/", form(revoke_key), name="key_revoke"),
    path("usage/", require_safe(usage), name="usage"),
    path("admin/login/", login_not_required(editor_login)),
    path("admin/", admin.site.urls),
]

handler400 = "appliance.console.pages.errors.bad_request"
handler403 = "appliance.console.pages.errors.forbidden"
handler404 = "appliance.console.pages.errors.not_found"
handler500 = "appliance.console.pages.errors.failed"
