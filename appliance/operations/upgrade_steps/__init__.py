"""The steps of an upgrade by name, and which of them an upgrade takes, in order. A new one: a module here, a line below."""

from __future__ import annotations

from appliance.operations.upgrade_steps.base import RowStep
from appliance.operations.upgrade_steps.beside import Beside
from appliance.operations.upgrade_steps.canary import Canary
from appliance.operations.upgrade_steps.drain import Drain
from appliance.operations.upgrade_steps.import_ import Import
from appliance.operations.upgrade_steps.make_room import MakeRoom
from appliance.operations.upgrade_steps.preflight import Preflight
from appliance.operations.upgrade_steps.smoke import Smoke
from appliance.operations.upgrade_steps.switch import Switch
from appliance.operations.upgrade_steps.whole import Whole
from ops.upgrade.preflight import INSTEAD

_STEPS: tuple[type[RowStep], ...] = (Preflight, Import, Whole, MakeRoom, Beside, Smoke, Canary, Switch, Drain)
STEPS: dict[str, type[RowStep]] = {step.name: step for step in _STEPS}


def names_for(*, rollback: bool, strategy: str, canary: bool = False) -> list[str]:
    """The steps that an upgrade takes. A rollback's files are here; room is made only where both don't fit."""
    left_out = {Import.name if rollback else Whole.name}
    if strategy != INSTEAD:
        left_out.add(MakeRoom.name)
    if not canary:
        left_out.add(Canary.name)
    return [name for name in STEPS if name not in left_out]
