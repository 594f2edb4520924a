"""Django's apps for tests that read classes and routes and never ask the database."""

from __future__ import annotations

from pathlib import Path

import pytest


def set_up_django(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Set Django up unless the control plane's tests have, with directories of their own."""
    import django
    from django.apps import apps

    if not apps.ready:
        monkeypatch.setenv("CODERACK_DATA_DIR", str(folder))
        monkeypatch.setenv("CODERACK_SECRET_KEY", "for tests only")
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "appliance.settings")
        django.setup()
