"""The new version's files: the bundle verified once more, its model copied to this machine, verified there and registered."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from appliance.first_rows import register_model
from appliance.operations.upgrade_steps.base import RowStep
from ops.bundle.bring import bring
from ops.bundle.errors import BundleError
from ops.bundle.trust import TrustStore
from ops.bundle.verify import accept
from ops.models import manifest
from ops.upgrade.errors import StepFailed, StepRefused


class Import(RowStep):
    """As `coderack bundle import`. Taking it back leaves the files and the registered version: nothing serves them."""

    name = "import"

    def check(self) -> None:
        """Raises: StepRefused where the disk with the bundle is not there."""
        if not Path(self.upgrade.source).is_dir():
            raise StepRefused(f"{self.upgrade.source} is not there: mount the disk with the bundle and plan again")

    def apply(self) -> None:
        """Bring the model.

        Raises: StepFailed.
        """
        begin = time.monotonic()
        trust = TrustStore(Path(str(self.details()["trust"])))
        self.tell("verifying the bundle")
        try:
            bundle = accept(trust, Path(self.upgrade.source), None, datetime.now(UTC))
            about = bundle.about
            if (about.name, about.digest) != (self.upgrade.name, self.upgrade.digest):
                raise StepFailed(
                    f"{self.upgrade.source} holds another model now ({about.name} {about.digest[:12]}): plan again"
                )
            self.tell("copying the model")
            path = bring(bundle, settings.ENV.cache_dir)
        except (BundleError, OSError) as error:
            raise StepFailed(str(error)) from error
        self.upgrade.to_model = register_model(
            about.name, path, about.digest, about.preset, about.max_model_len, about.fim, action="bundle.import"
        )
        self.upgrade.save(update_fields=("to_model",))
        self.note(path=str(path), size_bytes=bundle.model_bytes, took_s=round(time.monotonic() - begin, 1))

    def verify(self) -> None:
        """Raises: StepFailed unless the files that were registered are the planned ones."""
        model = self.upgrade.to_model
        if model is None or manifest.read(Path(model.path)).digest != self.upgrade.digest:
            raise StepFailed("the registered model is not the planned one")
