"""One thing that was looked at: how it is, and what to do where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """How it is. A warning keeps nothing from working today."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """`found` says what is there, `advice` what to do; there is none where all is well."""

    check: str
    result: Result
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """It is well."""
    return Finding(check, Result.OK, found)


def warning(check: str, found: str, advice: str) -> Finding:
    """It works, and should be looked at."""
    return Finding(check, Result.WARNING, found, advice)


def failed(check: str, found: str, advice: str) -> Finding:
    """It does not work so."""
    return Finding(check, Result.FAILED, found, advice)
