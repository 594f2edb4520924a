"""bundle.json: what a bundle holds and what it needs, for people, for the import and for the registry.

It is a target like the others, so its content is signed. It holds names and numbers only; nothing in it is ever imported
or run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ops.bundle.names import is_name

FORMAT = 1
MODEL_KIND = "model"
MIN_CONTEXT = 16
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Requirements:
    """What the receiving machine must have. None where the builder did not know."""

    free_disk_bytes: int
    engine_flavour: str | None = None
    engine_version: str | None = None


@dataclass(frozen=True)
class About:
    """One bundle's content. `digest` is the model's: the SHA-256 of its manifest."""

    name: str
    digest: str
    preset: str
    max_model_len: int
    fim: bool
    licence: str
    origin: str
    created_at: str
    requirements: Requirements
    kind: str = MODEL_KIND

    @property
    def line(self) -> str:
        """The line of versions that this bundle stands in; within it, versions only grow."""
        return f"{self.kind}/{self.name}"

    @property
    def directory_name(self) -> str:
        """What the imported directory is called."""
        return f"{self.name}-{self.digest[:12]}"


def facts(about: About) -> dict[str, Any]:
    """What bundle.json says, for people and scripts."""
    return {"format": FORMAT} | asdict(about)


def dump(about: About) -> bytes:
    """The bytes of bundle.json."""
    return (json.dumps(facts(about), indent=2, sort_keys=True) + "\n").encode()


def parse(content: bytes) -> About:
    """Read bundle.json.

    Raises: ValueError saying what can't be understood.
    """
    try:
        fields = json.loads(content)
        if fields.pop("format") != FORMAT:
            raise ValueError("its format is unknown; a newer appliance may read it")
        about = About(**{**fields, "requirements": Requirements(**fields["requirements"])})
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not understood ({error})") from error
    faults = list(_faults(about))
    if faults:
        raise ValueError(", ".join(faults))
    return about


def _faults(about: About) -> list[str]:
    needs = about.requirements
    texts = (about.licence, about.origin, about.created_at, needs.engine_flavour or "", needs.engine_version or "")
    checks = {
        "kind is not 'model'": about.kind == MODEL_KIND,
        "name is not a plain name": is_name(about.name),
        "digest is not a SHA-256": isinstance(about.digest, str)
        and len(about.digest) == 64
        and set(about.digest) <= _HEX,
        "preset is not a plain name": about.preset == "" or is_name(about.preset),
        "max_model_len is not a context": _is_count(about.max_model_len, MIN_CONTEXT),
        "fim is neither true nor false": isinstance(about.fim, bool),
        "a text is not printable": all(isinstance(text, str) and text.isprintable() for text in texts),
        "free_disk_bytes is not a size": _is_count(needs.free_disk_bytes, 0),
    }
    return [fault for fault, holds in checks.items() if not holds]


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
