"""What operators can't do to deployments, attached servers and boxes, and why."""

from __future__ import annotations


class DeploymentBusy(Exception):
    """An upgrade of the name is under way, and only that may change which version runs."""

    code = "deployment_busy"
    permanent = False


class SlotRefused(Exception):
    """An engine slot whose engines don't run on this machine's devices."""

    code = "slot_refused"
    permanent = True


class PinnedTooFew(Exception):
    """A deployment is pinned to fewer devices than its engines need."""

    code = "pinned_too_few"
    permanent = True


class AttachmentRefused(Exception):
    """A server can't become a replica as it is wanted."""

    code = "attachment_refused"


class NoCanary(Exception):
    """Nothing stands beside the version that serves the name."""

    code = "no_canary"
    permanent = True


class StorageRefused(Exception):
    """A data directory that is not the one of this database: nothing may be worked on there."""

    code = "storage_refused"
    permanent = True


class BoxRefused(Exception):
    """A worker can't be the one of the box that it is named after."""

    code = "box_refused"
    permanent = True
