"""Text that a reader typed into an address, made safe to ask the database for."""

from __future__ import annotations

from collections.abc import Mapping


def text(query: Mapping[str, str], name: str, longest: int = 200) -> str:
    """The parameter's text, trimmed and cut; PostgreSQL refuses NUL, so that it is left out."""
    return query.get(name, "").replace("\0", "").strip()[:longest]
