"""The box's own Ed25519 key, made once, and the signature over a certificate's files.

<data directory>/acceptance/keys/signing.pem   read by its owner only
<data directory>/acceptance/keys/public.pem    for whoever is to check certificates: to be handed over by a way of its own
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from finetune.files import sync_directory
from ops.acceptance.certificate import canonical
from ops.acceptance.errors import BadSigningKey

FORMAT = 1
PRIVATE, PUBLIC = "signing.pem", "public.pem"
KEY_HINT = "`coderack acceptance key` prints it on the box that signed"


def ensure_key(directory: Path) -> Ed25519PrivateKey:
    """The box's key, made at its first use: two at once get the same one.

    Raises: BadSigningKey when what is there can't be used.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / PRIVATE
    with (directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            made = Ed25519PrivateKey.generate()
            _write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        key = _private(path)
        if not (directory / PUBLIC).exists():
            _write(directory / PUBLIC, pem_of(key.public_key()), 0o644)
    return key


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise BadSigningKey(f"{path} can't be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise BadSigningKey(f"{path} can be read by others: chmod 600 {path}")
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadSigningKey(f"{path} is no private key without a passphrase: restore it from a backup") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadSigningKey(f"{path} is no Ed25519 key")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """A public key that certificates are to be checked with.

    Raises: BadSigningKey
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise BadSigningKey(f"{path} can't be read: {error.strerror}; {KEY_HINT}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadSigningKey(f"{path} is no public key in PEM form; {KEY_HINT}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadSigningKey(f"{path} is no Ed25519 key; {KEY_HINT}")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """The SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def pem_of(key: Ed25519PublicKey) -> bytes:
    """A public key as it is handed over."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signature(key: Ed25519PrivateKey, files: Mapping[str, bytes]) -> bytes:
    """What signature.json holds: each file's size and SHA-256, and the signature over all of that."""
    described = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()
    }
    signed = {"format": FORMAT, "key": key_id(key.public_key()), "files": described}
    made = base64.b64encode(key.sign(canonical(signed))).decode()
    return canonical({**signed, "signature": made})


def is_signed(key: Ed25519PublicKey, envelope: Mapping[str, Any]) -> bool:
    """Whether this key made the signature of an envelope."""
    signed = {name: envelope.get(name) for name in ("format", "key", "files")}
    try:
        key.verify(base64.b64decode(str(envelope.get("signature")), validate=True), canonical(signed))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_directory(path.parent)
