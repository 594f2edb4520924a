"""Writes that wait for a database that is being started again, so that an hour of training outlives its restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

log = logging.getLogger("coderack.training")

T = TypeVar("T")
WAIT_S = 60.0


def patiently(write: Callable[[], T]) -> T:
    """Do a write, trying again for a minute while the database is away. The write must be safe to do twice.

    Raises: OperationalError or InterfaceError once the minute is over.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError):
            if time.monotonic() > deadline:
                raise
            log.warning("the database is away; trying again")
            connection.close()
            time.sleep(1.0)
