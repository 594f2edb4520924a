"""The console as a Django app."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Pages and the record editor; no models of its own."""

    name = "appliance.console"
    verbose_name = "Coderack"
