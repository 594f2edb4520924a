"""What the gates said of a request: taken, or refused by one of them, and what is left of each."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Left(NamedTuple):
    """What remains of a gate, and seconds until it is whole again."""

    remaining: int
    reset_s: float


class Taken(msgspec.Struct, frozen=True):
    """The request may go on; every gate's amount is reserved."""

    left: tuple[Left, ...]


class Refused(msgspec.Struct, frozen=True):
    """Nothing was taken. `index`: the refusing gate's; `retry_s` None: this request never fits."""

    index: int
    retry_s: float | None
    left: tuple[Left, ...]
