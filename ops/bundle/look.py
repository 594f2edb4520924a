"""What a bundle says about itself, read without verifying anything: enough to know which stick this is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ops.bundle import about, layout
from ops.bundle.errors import BundleRefused
from ops.bundle.tree import Tree, list_tree

_METADATA = re.compile(r"metadata/(?:[1-9][0-9]{0,8}\.(?:root|targets|snapshot)|timestamp)\.json", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def look(path: Path) -> dict[str, Any]:
    """The content of bundle.json, and version and expiry of each metadata file.

    Raises: BundleRefused when there is no bundle or it can't be read.
    """
    tree = list_tree(path)
    shown = layout.target_path(layout.ABOUT)
    try:
        described = about.parse(tree.read(shown))
    except ValueError as error:
        raise BundleRefused([f"{shown}: {error}"]) from None
    metadata = [_facts(tree, file) for file in sorted(tree.files) if _METADATA.fullmatch(file)]
    return about.facts(described) | {"metadata": metadata, "files": len(tree.files)}


def _facts(tree: Tree, file: str) -> dict[str, Any]:
    try:
        signed = json.loads(tree.read(file))["signed"]
        version, expires = int(signed["version"]), str(signed["expires"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BundleRefused([f"{file}: damaged"]) from None
    if not _DATE.fullmatch(expires):  # printed to a terminal, and nobody vouches for it yet
        raise BundleRefused([f"{file}: damaged"])
    return {"file": file, "version": version, "expires": expires}
