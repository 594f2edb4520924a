"""What ends a batch, a request for one, or the work on one; HTTP is appliance.api.errors' matter."""

from __future__ import annotations

from appliance.training.errors import Refused


class BatchRefused(Refused):
    """A batch that is not begun, or not moved as asked."""


class BatchLost(Exception):
    """Somebody else holds the batch, or it was moved meanwhile: this holder looks again or lets go."""

    code = "lease_lost"
    permanent = False


class DiskFull(Exception):
    """There is no room for results: work waits until there is."""

    code = "disk_full"
    permanent = False
