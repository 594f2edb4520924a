"""`coderack version`: this release, and the engine release of each flavour that it installs."""

from __future__ import annotations

import importlib.metadata
import platform

from ops.cli.printing import AsJson, show_facts
from ops.slots.flavour import FLAVOURS
from ops.slots.lock import read_lock


def version(as_json: AsJson = False) -> None:
    """Show the release, Python's, and those of the engines it installs."""
    engines = {flavour: read_lock(flavour).vllm_version for flavour in FLAVOURS}
    facts = {"coderack": importlib.metadata.version("coderack"), "python": platform.python_version()}
    if as_json:
        show_facts(facts | {"engines": engines}, as_json)
    else:
        show_facts(facts | {f"vLLM on {flavour}": release for flavour, release in engines.items()}, as_json)
