"""The Lua that Redis runs, by name, each with the digest that EVALSHA asks for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

# With another layout comes another prefix: what a worker of an older release reserved must not be settled by these scripts.
# Its days, months and budgets are raised from the ledger.
PREFIX = "coderack:limits:2:"
OPEN, CONTENT = f"{PREFIX}open", f"{PREFIX}content"


@dataclass(frozen=True)
class Script:
    """Its text and SHA-1, by which Redis knows it."""

    text: str
    digest: str


def _read(*names: str) -> Script:
    folder = files(__package__)
    text = "".join(folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


SCRIPTS = {
    "reserve": _read("window", "reserve"),
    "settle": _read("window", "settle"),
    "renew": _read("renew"),
    "seed": _read("window", "seed"),
}
