"""ops.upgrade's ledger as rows: each step's state, when it began and ended, how often it was tried, and why it failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import F
from django.utils import timezone

from appliance.operations.models import Upgrade, UpgradeStep
from ops.upgrade.ledger import MOVES, StepState

Told = Callable[[UpgradeStep], None]
_BEGINS = {StepState.STARTED}
_ENDS = {StepState.DONE, StepState.FAILED, StepState.UNDONE}


class RowLedger:
    """One upgrade's steps. `told` hears of each move after it is written."""

    def __init__(self, upgrade: Upgrade, told: Told = lambda step: None) -> None:
        self._upgrade = upgrade
        self._told = told

    def states(self) -> Mapping[str, StepState]:
        """Every step's state by its name."""
        rows = UpgradeStep.objects.filter(upgrade=self._upgrade).order_by("index")
        return {name: StepState(state) for name, state in rows.values_list("name", "state")}

    def mark(self, step: str, state: StepState, reason: str = "") -> None:
        """Write a step's next state, where the table of moves has it. Why it failed stays beside why it can't be undone."""
        before = [old for old, moves in MOVES.items() if state in moves]
        rows = UpgradeStep.objects.filter(upgrade=self._upgrade, name=step)
        was = rows.values_list("reason", flat=True).first()
        if was and reason:
            reason = was if reason in was else f"{was}\n{reason}"
        if rows.filter(state__in=before).update(state=state, **_changes(state, reason, timezone.now())) != 1:
            raise RuntimeError(
                f"step {step} can't become {state}: its row is {rows.values_list('state', flat=True).first()}"
            )
        self._told(rows.get())


def _changes(state: StepState, reason: str, now: datetime) -> dict[str, Any]:
    changes: dict[str, Any] = {"reason": reason} if reason else {}
    if state in _BEGINS:
        changes |= {"started_at": now, "finished_at": None, "attempts": F("attempts") + 1}
    if state in _ENDS:
        changes |= {"finished_at": now}
    return changes
