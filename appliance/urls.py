"""The control plane's routes. The gateway hands everything here that is not a hot path."""

from django.urls import URLPattern, URLResolver, path

urlpatterns: list[URLPattern | URLResolver] = []
