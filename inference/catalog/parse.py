"""Plain YAML values into frozen dataclasses, by their annotations: nothing unknown, nothing missing, no type
changed silently.

Faults are collected, not raised, so that a person sees all of them at once.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

BROKEN: Any = object()


def build(kind: type[Any], value: Any, where: str, faults: list[str]) -> Any:
    """Make a `kind` of a mapping; returns BROKEN, with the reasons added to `faults`, when that can't be done."""
    if not isinstance(value, dict):
        faults.append(f"{where}: must be a mapping")
        return BROKEN
    known = {field.name: field for field in fields(kind)}
    hints = get_type_hints(kind)
    faults += [f"{where}.{name}: unknown key" for name in value if name not in known]
    made = {}
    for name, field in known.items():
        if name in value:
            made[name] = convert(hints[name], value[name], f"{where}.{name}", faults)
        elif field.default is MISSING:
            faults.append(f"{where}.{name}: missing")
            made[name] = BROKEN
    return BROKEN if any(item is BROKEN for item in made.values()) else kind(**made)


def convert(kind: Any, value: Any, where: str, faults: list[str]) -> Any:
    """Check one value against an annotation."""
    if get_origin(kind) in (Union, types.UnionType):
        return _one_of(get_args(kind), value, where, faults)
    if get_origin(kind) is tuple:
        return _list(get_args(kind)[0], value, where, faults)
    if get_origin(kind) is dict:
        return _mapping(get_args(kind)[1], value, where, faults)
    if is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, where, faults)
    return _scalar(kind, value, where, faults)


def _one_of(choices: tuple[Any, ...], value: Any, where: str, faults: list[str]) -> Any:
    if type(None) in choices and value is None:
        return None
    choices = tuple(choice for choice in choices if choice is not type(None))
    if len(choices) == 1:
        return convert(choices[0], value, where, faults)
    # Several classes: each has a `kind`, and the mapping names one of them.
    kinds = {choice.kind: choice for choice in choices}
    if not isinstance(value, dict) or value.get("kind") not in kinds:
        faults.append(f"{where}.kind: must be one of {', '.join(kinds)}")
        return BROKEN
    return build(kinds[value["kind"]], {name: item for name, item in value.items() if name != "kind"}, where, faults)


def _list(kind: Any, value: Any, where: str, faults: list[str]) -> Any:
    if not isinstance(value, list):
        faults.append(f"{where}: must be a list")
        return BROKEN
    made = tuple(convert(kind, item, f"{where}[{index}]", faults) for index, item in enumerate(value))
    return BROKEN if BROKEN in made else made


def _mapping(kind: Any, value: Any, where: str, faults: list[str]) -> Any:
    if not isinstance(value, dict) or not value:
        faults.append(f"{where}: must be a mapping with at least one entry")
        return BROKEN
    made = {str(name): convert(kind, item, f"{where}.{name}", faults) for name, item in value.items()}
    return BROKEN if BROKEN in made.values() else made


def _scalar(kind: Any, value: Any, where: str, faults: list[str]) -> Any:
    # `type is`, because bool is an int to isinstance; a whole number is fine where a fraction may stand.
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    faults.append(f"{where}: must be {'text' if kind is str else kind.__name__}, not {value!r}")
    return BROKEN
