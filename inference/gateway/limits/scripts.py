"""The Lua that Redis runs, by name, each with the digest that EVALSHA asks for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

PREFIX = "coderack:limits:"
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
    "settle": _read("settle"),
    "renew": _read("renew"),
    "seed": _read("window", "seed"),
}
