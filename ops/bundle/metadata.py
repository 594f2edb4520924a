"""Is this metadata what the trusted root's keys signed, all of it, and not expired? The TUF specification's client workflow.

Stricter than TUF where a disk allows it: a file must be byte for byte what its content serializes to, and every signature
in it must hold. So no byte of it can be changed unnoticed, not even one that means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from securesystemslib.exceptions import UnverifiedSignatureError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from ops.bundle.errors import BundleRefused
from ops.bundle.layout import TIMESTAMP, metadata_path
from ops.bundle.names import path_faults
from ops.bundle.signing import Target

ROLE = TypeVar("ROLE", Root, Timestamp, Snapshot, Targets)
Read = Callable[[str], bytes]  # a metadata file's content by its path in the bundle; raises BundleRefused


@dataclass(frozen=True)
class Versions:
    """The versions of a bundle's roles."""

    targets: int
    snapshot: int
    timestamp: int


@dataclass(frozen=True)
class Signed:
    """What the metadata of a bundle says, once all of it was verified. `root` is the newest root's bytes."""

    root: bytes
    root_version: int
    versions: Versions
    timestamp: bytes
    expires: datetime
    targets: tuple[Target, ...]
    files: tuple[str, ...]


def verify_metadata(read: Read, root_versions: Sequence[int], trusted_root: bytes, now: datetime) -> Signed:
    """Verify all metadata of a bundle, from the trusted root to the list of targets.

    Raises: BundleRefused at the first file that does not hold: what it would vouch for means nothing then.
    """
    root, root_bytes = _newest_root(read, root_versions, trusted_root)
    _require_current(root, metadata_path("root", root.version), now)
    timestamp_bytes = read(TIMESTAMP)
    timestamp = _load(Timestamp, TIMESTAMP, timestamp_bytes, [root])
    _require_current(timestamp, TIMESTAMP, now)
    snapshot_path = metadata_path("snapshot", timestamp.snapshot_meta.version)
    snapshot = _listed(Snapshot, snapshot_path, read(snapshot_path), timestamp.snapshot_meta, root, now)
    if set(snapshot.meta) != {"targets.json"}:
        raise BundleRefused([f"{snapshot_path}: lists other metadata than targets.json"])
    targets_path = metadata_path("targets", snapshot.meta["targets.json"].version)
    targets = _listed(Targets, targets_path, read(targets_path), snapshot.meta["targets.json"], root, now)
    roots = [metadata_path("root", version) for version in root_versions]
    return Signed(
        root=root_bytes,
        root_version=root.version,
        versions=Versions(targets.version, snapshot.version, timestamp.version),
        timestamp=timestamp_bytes,
        expires=min(signed.expires for signed in (root, timestamp, snapshot, targets)),
        targets=_targets(targets, targets_path),
        files=(*roots, TIMESTAMP, snapshot_path, targets_path),
    )


def load_root(name: str, content: bytes) -> Root:
    """Read a root that is signed by its own keys.

    Raises: BundleRefused
    """
    return _load(Root, name, content, [])


def _newest_root(read: Read, versions: Sequence[int], trusted: bytes) -> tuple[Root, bytes]:
    """Follow the chain of roots. Each is signed by itself and by the one before; the trusted one must be among them."""
    if not versions:
        raise BundleRefused([f"{metadata_path('root', 1)}: missing"])
    start = load_root("the trusted root", trusted)
    newest: tuple[Root, bytes] | None = None
    found = False
    for expected, version in enumerate(versions, start=versions[0]):
        path = metadata_path("root", version)
        content = read(path)
        root = _load(Root, path, content, [newest[0]] if newest else [])
        if not root.version == version == expected:
            raise BundleRefused([f"{path}: holds version {root.version}, or one before it is missing"])
        found = found or (version == start.version and content == trusted)
        newest = (root, content)
    if not found or newest is None:
        raise BundleRefused([
            f"{path}: not the root that is trusted here (version {start.version}), and not signed by way of it"
        ])  # fmt: skip
    return newest


def _listed(role: type[ROLE], path: str, content: bytes, listed: MetaFile, root: Root, now: datetime) -> ROLE:
    """Metadata that other metadata vouches for by hash, length and version."""
    if not listed.hashes or "sha256" not in listed.hashes or listed.length is None:
        raise BundleRefused([f"{path}: listed without SHA-256 or length"])
    try:
        listed.verify_length_and_hashes(content)
    except RepositoryError:
        raise BundleRefused([f"{path}: not what was signed (length or hash differs)"]) from None
    signed = _load(role, path, content, [root])
    if signed.version != listed.version:
        raise BundleRefused([f"{path}: version {signed.version} instead of {listed.version}"])
    _require_current(signed, path, now)
    return signed


def _load(role: type[ROLE], path: str, content: bytes, delegators: Sequence[Root]) -> ROLE:
    """Parse and check signatures. A root's delegators are itself and the one before it."""
    try:
        metadata = Metadata[ROLE].from_bytes(content)
        whole = metadata.to_bytes() == content and not metadata.unrecognized_fields
        signed = metadata.signed
        if not whole or not isinstance(signed, role):
            raise BundleRefused([f"{path}: changed, or not written by `coderack bundle`"])
        faults = _signature_faults(metadata, [signed, *delegators] if isinstance(signed, Root) else delegators)
    except (RepositoryError, UnverifiedSignatureError, ValueError, TypeError, AttributeError, KeyError) as error:
        # Unsigned content reaches the parser: whatever it stumbles over is a refusal.
        raise BundleRefused([f"{path}: damaged ({error})"]) from None
    if faults:
        raise BundleRefused([f"{path}: {fault}" for fault in faults])
    return signed


def _signature_faults(metadata: Metadata[ROLE], delegators: Sequence[Root]) -> list[str]:
    payload, signatures = metadata.signed_bytes, metadata.signatures
    results = [root.get_verification_result(metadata.signed.type, payload, signatures) for root in delegators]
    faults = [
        f"signed by {len(result.signed)} of the {result.threshold} keys that are needed"
        for result in results
        if not result.verified
    ]
    strange = set(signatures).difference(*(result.signed for result in results))
    odd = [s for s in signatures.values() if s.unrecognized_fields or s.signature != s.signature.lower()]
    if not faults and (strange or odd):
        faults.append("bears a signature that does not hold or that no trusted key made")
    return faults


def _targets(targets: Targets, path: str) -> tuple[Target, ...]:
    if targets.delegations is not None:
        raise BundleRefused([f"{path}: delegates to other keys, which bundles do not"])
    faults = path_faults(targets.targets)
    faults += [
        f"{name!r}: listed without SHA-256" for name, file in targets.targets.items() if "sha256" not in file.hashes
    ]
    if faults:
        raise BundleRefused([f"{path}: {fault}" for fault in faults])
    return tuple(Target(name, file.length, file.hashes["sha256"]) for name, file in sorted(targets.targets.items()))


def _require_current(signed: Root | Timestamp | Snapshot | Targets, path: str, now: datetime) -> None:
    if signed.is_expired(now):
        raise BundleRefused([f"{path}: expired on {signed.expires:%Y-%m-%d %H:%M} UTC; ask for a bundle signed anew"])
