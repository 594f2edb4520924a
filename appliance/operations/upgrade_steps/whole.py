"""A rollback's files: those of the version before must still be what was verified when they came."""

from __future__ import annotations

from pathlib import Path

from appliance.operations.upgrade_steps.base import RowStep
from ops.models import manifest
from ops.upgrade.errors import StepRefused


class Whole(RowStep):
    """Every byte of the old version is hashed again before an engine reads it."""

    name = "files"

    def check(self) -> None:
        """Raises: StepRefused with what differs."""
        model = self.upgrade.to_model
        path = Path(model.path) if model else Path()
        self.tell("comparing the files with their digests")
        faults = manifest.verify(path) or self._another(path)
        if faults:
            raise StepRefused(f"{path} is damaged, bring its bundle again: " + "; ".join(faults[:5]))

    def _another(self, path: Path) -> list[str]:
        return [] if manifest.read(path).digest == self.upgrade.digest else ["it is another model"]
