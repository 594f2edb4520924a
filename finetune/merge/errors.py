"""What can go wrong while an adapter is merged into its base model."""

from __future__ import annotations


class MergeError(Exception):
    """Base of this package's errors. `permanent`: the same two would fail the same way again."""

    code = "merge_failed"
    permanent = False


class CannotMerge(MergeError):
    """The two can't be merged; the message says why."""

    code = "cannot_merge"
    permanent = True


class NoRoom(MergeError):
    """The disk does not hold another model."""

    code = "no_room"
