"""The one decision over all checks: may this adapter be used? Who asks and what follows is the caller's matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.evaluate.check import Check, Verdict

# Without these nothing may be used: a check that was left out must not look like one that passed.
REQUIRED = ("parity", "effect", "heldout", "extraction")


@dataclass(frozen=True)
class Gate:
    """Pass or fail, and why: what failed first, then what lacked evidence."""

    verdict: Verdict
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"verdict": self.verdict.value, "reasons": list(self.reasons)}


def decide(checks: Sequence[Check]) -> Gate:
    """Fail on any blocking check that failed and on any required one that was not run."""
    names = {check.name for check in checks}
    faults = [f"{name}: was not run" for name in REQUIRED if name not in names]
    faults += [_said(check) for check in checks if check.blocking and check.verdict is Verdict.FAIL]
    shown = [_said(check) for check in checks if not check.blocking and check.verdict is Verdict.FAIL]
    shown += [_said(check) for check in checks if check.verdict is Verdict.NOT_ENOUGH_EVIDENCE]
    return Gate(Verdict.FAIL if faults else Verdict.PASS, (*faults, *shown))


def _said(check: Check) -> str:
    return f"{check.name}: {check.reason}"
