"""Whether a model directory holds all that an engine needs to load it: a configuration, weights, every shard of the index.

That the files are the registered ones is the manifest's to say; a manifest over half a model is as good as any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
MAX_NAMED = 5


def gaps(directory: Path) -> list[str]:
    """What is missing; an empty list when nothing is."""
    return [*_of_config(directory), *_of_weights(directory)]


def _of_config(directory: Path) -> list[str]:
    if not (directory / CONFIG).is_file():
        return [f"{CONFIG}: missing"]
    config = _object(directory / CONFIG)
    if config is None:
        return [f"{CONFIG}: holds no object"]
    named = config.get("architectures")
    if not isinstance(named, list) or not named:
        return [f"{CONFIG}: names no architecture: the engine would not know what it is"]
    return []


def _of_weights(directory: Path) -> list[str]:
    index = directory / INDEX
    if not index.is_file():
        return [] if any(directory.glob("*.safetensors")) else ["no safetensors weights"]
    content = _object(index) or {}
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        return [f"{INDEX}: lists no weights"]
    missing = sorted({str(shard) for shard in shards.values() if not (directory / str(shard)).is_file()})
    more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
    return [f"{INDEX}: shards are missing: {', '.join(missing[:MAX_NAMED])}{more}"] if missing else []


def _object(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
