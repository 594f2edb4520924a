"""Who acts at the moment: a person's name, `key:<prefix>`, `cli:<login>`, or `system` where nobody asked.

Whatever lets somebody in (the console, the API, the command line) says it here; `record` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SYSTEM = "system"

_actor: ContextVar[str] = ContextVar("actor", default=SYSTEM)


def current() -> str:
    """Who acts now."""
    return _actor.get()


def become(name: str) -> None:
    """Name the actor until the surrounding `acting` ends."""
    _actor.set(name)


@contextmanager
def acting(name: str) -> Iterator[None]:
    """Name the actor for a block; after it everything is as before, `become` inside it included."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)
