"""Reading the preset files beside this module: all of them at once, all faults in one message.

A file may say `like: <other preset>`: sections it does not give are that preset's. Only one step is followed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from inference.catalog.errors import BadPreset, UnknownPreset
from inference.catalog.parse import BROKEN, build
from inference.catalog.preset import Preset
from inference.catalog.rules import faults_of

DIRECTORY = Path(__file__).parent
CONTEXT_WITHOUT_PRESET = 4096


@cache
def catalog() -> MappingProxyType[str, Preset]:
    """The shipped presets by name."""
    return MappingProxyType(load(DIRECTORY))


def preset(name: str) -> Preset:
    """One shipped preset.

    Raises: UnknownPreset, naming those there are.
    """
    try:
        return catalog()[name]
    except KeyError:
        raise UnknownPreset(f"no preset {name!r}: there are {', '.join(sorted(catalog()))}") from None


def default_context(name: str) -> int:
    """Tokens of context that a model is registered with where nobody says how many: its preset's, without one 4096.

    Raises: UnknownPreset.
    """
    return preset(name).context.default if name else CONTEXT_WITHOUT_PRESET


def load(directory: Path) -> dict[str, Preset]:
    """Read every `*.yaml` of a directory.

    Raises: BadPreset with everything that is wrong in any of the files.
    """
    faults: list[str] = []
    raw = {path.stem: _read(path, faults) for path in sorted(directory.glob("*.yaml"))}
    presets = {name: _preset(name, raw, faults) for name in raw}
    if faults:
        raise BadPreset("the model catalog has faults:\n" + "\n".join(f"  {fault}" for fault in faults))
    return presets


def _read(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        faults.append(f"{path.name}: not YAML: {error}")
        return {}
    if not isinstance(content, dict):
        faults.append(f"{path.name}: must be a mapping")
        return {}
    return content


def _preset(name: str, raw: dict[str, dict[str, Any]], faults: list[str]) -> Any:
    content = dict(raw[name])
    if not content:
        return BROKEN
    other = content.pop("like", None)
    if other is not None:
        if other not in raw or "like" in raw[other]:
            faults.append(f"{name}.like: {other!r} is no preset of its own")
            return BROKEN
        content = raw[other] | content
    made = build(Preset, content, name, faults)
    if made is BROKEN:
        return BROKEN
    if made.name != name:
        faults.append(f"{name}.name: {made.name!r} is not the file's name")
    faults += [f"{name}.{fault}" for fault in faults_of(made)]
    return made
