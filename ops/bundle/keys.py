"""A builder's key directory: Ed25519 keys as PEM files that only their owner reads, the signed root, the last version used.

root.json                      goes to every machine that shall trust these keys, once, by a way of its own
offline/root-1.pem …           signs root.json only: to be moved to a safe place; a build does without
targets.pem snapshot.pem timestamp.pem
versions.json                  the version of the last bundle; it grows with every build and never goes back
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from ops.bundle.copying import publish, write_file
from ops.bundle.errors import BadKeys
from ops.bundle.signing import ONLINE_ROLES, sign_root
from ops.slots.files import write_json

ROOT_FILE = "root.json"
OFFLINE = "offline"
VERSIONS_FILE = "versions.json"
MAX_ROOT_KEYS = 9


@dataclass(frozen=True)
class Keys:
    """What a build signs with. The root's own keys are not among it."""

    directory: Path
    root: bytes
    root_version: int
    root_expires: datetime
    online: Mapping[str, CryptoSigner]


def make_keys(directory: Path, *, root_keys: int, threshold: int, root_expires: datetime) -> None:
    """Make a key directory with a signed root.

    Raises: BadKeys when the directory exists or the threshold can't be met.
    """
    if not 1 <= threshold <= root_keys <= MAX_ROOT_KEYS:
        raise BadKeys(
            f"a threshold of {threshold} of {root_keys} root keys: choose 1 to {MAX_ROOT_KEYS}, not more than keys"
        )
    if directory.exists() or directory.is_symlink():
        raise BadKeys(f"{directory} exists: choose a new directory, keys are never overwritten")
    fresh = directory.with_name(f".{directory.name}.new")
    if fresh.exists():
        raise BadKeys(f"{fresh} is left from a run that was ended: remove it")
    fresh.mkdir(mode=0o700, parents=True)
    (fresh / OFFLINE).mkdir(mode=0o700)
    roots = [CryptoSigner.generate_ed25519() for _ in range(root_keys)]
    online = {role: CryptoSigner.generate_ed25519() for role in ONLINE_ROLES}
    for number, signer in enumerate(roots, start=1):
        write_file(fresh / OFFLINE / f"root-{number}.pem", signer.private_bytes, 0o600)
    for role, signer in online.items():
        write_file(fresh / f"{role}.pem", signer.private_bytes, 0o600)
    write_file(fresh / ROOT_FILE, sign_root(roots, online, threshold=threshold, expires=root_expires))
    write_json(fresh / VERSIONS_FILE, {"last": 0})
    publish(fresh, directory)


def load_keys(directory: Path) -> Keys:
    """Read what a build signs with, and check that the root names these keys.

    Raises: BadKeys
    """
    try:
        content = (directory / ROOT_FILE).read_bytes()
        root = Metadata[Root].from_bytes(content).signed
    except (OSError, RepositoryError) as error:
        raise BadKeys(f"{directory / ROOT_FILE} can't be read ({error}): `coderack bundle keygen` makes keys") from None
    if not isinstance(root, Root):
        raise BadKeys(f"{directory / ROOT_FILE} is no root metadata")
    online = {role: load_signer(directory / f"{role}.pem") for role in ONLINE_ROLES}
    for role, signer in online.items():
        if signer.public_key.keyid not in root.roles[role].keyids:
            raise BadKeys(f"{directory / f'{role}.pem'} is not the key that {ROOT_FILE} names for {role}")
    return Keys(directory, content, root.version, root.expires, online)


def load_signer(path: Path) -> CryptoSigner:
    """Read one private key.

    Raises: BadKeys when it is missing, readable by others or not Ed25519.
    """
    try:
        mode = path.stat().st_mode
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise BadKeys(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKeys(f"{path} is no private key without a passphrase") from None
    if stat.S_IMODE(mode) & 0o077:
        raise BadKeys(f"{path} can be read by others: chmod 600 {path}")
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKeys(f"{path} is no Ed25519 key")
    return CryptoSigner(key)


def take_version(keys: Keys) -> int:
    """The next version, recorded before it is used: a build that fails leaves a gap and never a version used twice.

    Raises: BadKeys when the record can't be understood.
    """
    path = keys.directory / VERSIONS_FILE
    try:
        last = int(json.loads(path.read_text(encoding="utf-8"))["last"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadKeys(f"{path} can't be read ({error}): restore it, no version may be used twice") from None
    write_json(path, {"last": last + 1})
    return last + 1
