"""The four TUF roles, filled and signed. Deciding what goes into a bundle is left to the build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from ops.bundle.layout import TIMESTAMP, metadata_path

ONLINE_ROLES = ("targets", "snapshot", "timestamp")


@dataclass(frozen=True)
class Target:
    """One file below targets/, its path relative to it."""

    path: str
    size_bytes: int
    sha256: str


def sign_root(
    root_keys: Sequence[CryptoSigner],
    online: Mapping[str, CryptoSigner],
    *,
    threshold: int,
    expires: datetime,
    version: int = 1,
) -> bytes:
    """The root that says which keys sign what, signed by all root keys."""
    keys = [*root_keys, *online.values()]
    roles = {"root": Role([key.public_key.keyid for key in root_keys], threshold)}
    roles |= {role: Role([online[role].public_key.keyid], 1) for role in ONLINE_ROLES}
    root = Root(
        version=version,
        expires=expires,
        keys={key.public_key.keyid: key.public_key for key in keys},
        roles=roles,
        consistent_snapshot=True,
    )
    return _signed(Metadata(root), root_keys)


def sign_targets(
    targets: Sequence[Target], online: Mapping[str, CryptoSigner], version: int, expires: datetime
) -> dict[str, bytes]:
    """The metadata files of one bundle by their path, without the root's."""
    described = {t.path: TargetFile(t.size_bytes, {"sha256": t.sha256}, t.path) for t in targets}
    listed = _signed(Metadata(Targets(version, expires=expires, targets=described)), [online["targets"]])
    meta = {"targets.json": MetaFile.from_data(version, listed, ["sha256"])}
    snapshot = _signed(Metadata(Snapshot(version, expires=expires, meta=meta)), [online["snapshot"]])
    newest = MetaFile.from_data(version, snapshot, ["sha256"])
    timestamp = _signed(Metadata(Timestamp(version, expires=expires, snapshot_meta=newest)), [online["timestamp"]])
    return {
        metadata_path("targets", version): listed,
        metadata_path("snapshot", version): snapshot,
        TIMESTAMP: timestamp,
    }


def _signed(
    metadata: Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp],
    signers: Sequence[CryptoSigner],
) -> bytes:
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
