"""Django for CLI commands, and the one message for a database that doesn't answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import django

from ops.cli.printing import Exit, fail


def connect() -> None:
    """Set Django up, so that models can be imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "appliance.settings")
    django.setup()


@contextmanager
def rows() -> Iterator[None]:
    """Django set up, and a database that is away told in one line."""
    connect()
    from django.db import OperationalError  # noqa: PLC0415 - after the settings are chosen

    try:
        yield
    except OperationalError as error:
        reason = str(error).splitlines()[0]
        raise fail(
            f"the database doesn't answer ({reason}); is the appliance running? `make start`", Exit.NOT_RUNNING
        ) from None
