"""Slows down guessing of passwords: ten attempts per name and address within ten minutes.

Attempts are counted before the password is looked at, so that parallel guesses don't slip through; a success clears the count.
"""

from __future__ import annotations

import hashlib

from django.core.cache import cache
from django.http import HttpRequest

ATTEMPTS = 10
PERIOD_S = 600


def address(request: HttpRequest) -> str:
    """The client's address. Over the Unix socket only the gateway speaks, which mints X-Forwarded-For itself."""
    direct: str = request.META.get("REMOTE_ADDR", "")
    return direct or request.headers.get("X-Forwarded-For", "").split(",")[0].strip()


def _key(name: str, client: str) -> str:
    digest = hashlib.sha256(f"{name.strip().casefold()}\0{client}".encode()).hexdigest()
    return f"console:login:{digest}"


def may_try(name: str, client: str) -> bool:
    """Count one attempt and say whether it may go ahead."""
    key = _key(name, client)
    cache.add(key, 0, PERIOD_S)
    try:
        return cache.incr(key) <= ATTEMPTS
    except ValueError:  # expired between the two calls: a new period begins
        return True


def clear(name: str, client: str) -> None:
    """Forget the attempts after a success."""
    cache.delete(_key(name, client))
