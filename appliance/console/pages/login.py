"""Log-in and log-out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from appliance.console import throttle
from appliance.tenants.models import User
from appliance.tenants.playground import close_keys


class LoginForm(AuthenticationForm):
    """Name and password; says the same whether the name or the password was wrong."""

    error_messages = {  # noqa: RUF012 - Django's own shape
        "invalid_login": _("That name and password don't go together, or the account is switched off."),
        "inactive": _("That name and password don't go together, or the account is switched off."),
    }

    def clean(self) -> dict[str, Any]:
        """Check the password unless this name was tried too often from this address."""
        name = self.cleaned_data.get("username") or ""
        client = throttle.address(self.request) if self.request else ""
        if not throttle.may_try(name, client):
            raise ValidationError(
                _("Too many failed attempts. Wait ten minutes, then try again; nobody else is affected."),
                code="throttled",
            )
        cleaned = super().clean()
        throttle.clear(name, client)
        return cleaned


class Login(views.LoginView):
    """The log-in page."""

    template_name = "console/login.html"
    authentication_form = LoginForm


class Logout(views.LogoutView):
    """Ends the session; POST only."""

    next_page = "login"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The playground's key ends with the session."""
        if isinstance(request.user, User) and request.session.session_key:
            close_keys(request.user, request.session.session_key)
        return super().post(request, *args, **kwargs)


def editor_login(request: HttpRequest) -> HttpResponse:
    """The record editor's log-in is the console's, so that there is one throttle."""
    if request.user.is_authenticated:
        raise PermissionDenied  # logged in, but no operator
    return redirect(reverse("login") + "?" + urlencode({"next": request.GET.get("next", reverse("admin:index"))}))
