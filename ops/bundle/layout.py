"""Where things lie in a bundle. The metadata has TUF's names for consistent snapshots; the targets have their plain names.

metadata/1.root.json  metadata/N.targets.json  metadata/N.snapshot.json  metadata/timestamp.json
targets/bundle.json   targets/model/…
"""

from __future__ import annotations

METADATA = "metadata"
TARGETS = "targets"
ABOUT = "bundle.json"
MODEL = "model"
TIMESTAMP = f"{METADATA}/timestamp.json"


def metadata_path(role: str, version: int) -> str:
    """The path of a role's metadata; the timestamp's has no version in it."""
    return f"{METADATA}/{version}.{role}.json"


def target_path(name: str) -> str:
    """The path of a target."""
    return f"{TARGETS}/{name}"
