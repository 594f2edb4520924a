"""Is a bundle whole, signed by keys that are trusted here, not expired, not older than what was accepted, and only data?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ops.bundle import about, layout
from ops.bundle.about import About
from ops.bundle.errors import BundleRefused
from ops.bundle.metadata import Signed, verify_metadata
from ops.bundle.signing import Target
from ops.bundle.tree import Tree, content_faults, is_target, list_tree, name_faults
from ops.bundle.trust import Seen, TrustStore, rollback_faults
from ops.models import manifest
from ops.models.contents import refusals
from ops.models.errors import ModelIncomplete

LastSeen = Callable[[str], Seen | None]  # the newest bundle accepted in a line


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    path: Path
    about: About
    signed: Signed

    @property
    def model(self) -> tuple[Target, ...]:
        """The model's files, their paths relative to the bundle's targets."""
        return tuple(target for target in self.signed.targets if target.path.startswith(f"{layout.MODEL}/"))

    @property
    def model_bytes(self) -> int:
        """What the model takes on a disk."""
        return sum(target.size_bytes for target in self.model)


def verify(path: Path, trusted_root: bytes, last_seen: LastSeen, now: datetime) -> Bundle:
    """Verify a bundle against a root, without changing anything.

    Nothing is looked at before what vouches for it was verified.
    Raises: BundleRefused naming each fault.
    """
    tree = list_tree(path)
    signed = verify_metadata(tree.read, tree.root_versions(), trusted_root, now)
    _refuse(name_faults(tree, signed.files, signed.targets))
    described = _about(tree, signed)
    _refuse(rollback_faults(last_seen(described.line), signed))
    _refuse(content_faults(path, signed.targets))
    bundle = Bundle(path, described, signed)
    _refuse(_model_faults(bundle))
    return bundle


def verify_for(store: TrustStore, path: Path, root: bytes | None, now: datetime) -> Bundle:
    """Verify against the given root or the installed one, and remember the bundle where the root is the installed one.

    Raises: BundleRefused, NoTrust
    """
    trusted = store.root() if root is None else root
    if not store.holds(trusted):
        return verify(path, trusted, lambda line: None, now)
    bundle = verify(path, trusted, store.seen, now)
    store.accept(bundle.about.line, bundle.signed)
    return bundle


def accept(store: TrustStore, path: Path, root: bytes | None, now: datetime) -> Bundle:
    """Verify for an import. A root that is given is trusted from now on, unless another one is installed.

    Raises: BundleRefused, NoTrust
    """
    if root is not None:
        store.require_new_or_same(root)
    bundle = verify(path, store.root() if root is None else root, store.seen, now)
    store.accept(bundle.about.line, bundle.signed)
    return bundle


def describe(bundle: Bundle) -> dict[str, object]:
    """A verified bundle's facts, for people and scripts."""
    return about.facts(bundle.about) | {
        "versions": vars(bundle.signed.versions),
        "root_version": bundle.signed.root_version,
        "expires": bundle.signed.expires.isoformat(),
        "files": len(bundle.signed.targets),
        "size_bytes": sum(target.size_bytes for target in bundle.signed.targets),
    }


def _about(tree: Tree, signed: Signed) -> About:
    """bundle.json, parsed from the very bytes that were compared with the signed hash."""
    path = layout.target_path(layout.ABOUT)
    target = next((target for target in signed.targets if target.path == layout.ABOUT), None)
    if target is None:
        raise BundleRefused([f"{path}: not among the signed targets"])
    content = tree.read(path)
    if not is_target(content, target):
        raise BundleRefused([f"{path}: changed"])
    try:
        return about.parse(content)
    except ValueError as error:
        raise BundleRefused([f"{path}: {error}"]) from None


def _model_faults(bundle: Bundle) -> list[str]:
    """Where the signed files are no model: a signer may err, and a stolen key may not bring code."""
    directory = bundle.path / layout.TARGETS / layout.MODEL
    beside = (
        {target.path for target in bundle.signed.targets} - {target.path for target in bundle.model} - {layout.ABOUT}
    )
    faults = [f"{layout.target_path(path)}: neither {layout.ABOUT} nor part of the model" for path in sorted(beside)]
    try:
        listed = manifest.read(directory)
    except ModelIncomplete as error:
        return [*faults, str(error)]
    if listed.digest != bundle.about.digest:
        faults.append(f"{layout.ABOUT} names another model: its digest is not the manifest's")
    held = {(t.path.removeprefix(f"{layout.MODEL}/"), t.size_bytes, t.sha256) for t in bundle.model}
    held = {entry for entry in held if entry[0] != manifest.FILE_NAME}
    if held != {(file.path, file.size_bytes, file.sha256) for file in listed.files}:
        faults.append(f"the signed files are not those of the model's {manifest.FILE_NAME}")
    return faults + [f"{layout.target_path(layout.MODEL)}/{line}" for line in refusals(directory)]


def _refuse(faults: list[str]) -> None:
    if faults:
        raise BundleRefused(faults)
