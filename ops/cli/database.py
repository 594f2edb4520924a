"""Django for CLI commands, and the one message for a database that doesn't answer."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import django

from appliance.audit.actor import acting
from ops.cli.printing import Exit, fail


def connect() -> None:
    """Set Django up, so that models can be imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "appliance.settings")
    django.setup()


def as_operator() -> AbstractContextManager[None]:
    """Acts are the user's who runs this process; the system says who, the environment could lie."""
    uid = os.getuid()
    try:
        login = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's number without a name
        login = str(uid)
    return acting(f"cli:{login}")


@contextmanager
def rows() -> Iterator[None]:
    """Django set up, the audit log's actor named, and a database that is away told in one line."""
    connect()
    from django.db import OperationalError  # noqa: PLC0415 - after the settings are chosen

    try:
        with as_operator():
            yield
    except OperationalError as error:
        reason = str(error).splitlines()[0]
        raise fail(
            f"the database doesn't answer ({reason}); is the appliance running? `make start`", Exit.NOT_RUNNING
        ) from None
