"""The states of a batch and the one table of moves between them. Statuses are OpenAI's."""

from __future__ import annotations

from enum import StrEnum


class BatchStatus(StrEnum):
    """How far a batch is."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


_S = BatchStatus

TRANSITIONS: dict[BatchStatus, frozenset[BatchStatus]] = {
    _S.VALIDATING: frozenset({_S.IN_PROGRESS, _S.FAILED, _S.EXPIRED, _S.CANCELLING}),
    _S.IN_PROGRESS: frozenset({_S.FINALIZING, _S.FAILED, _S.EXPIRED, _S.CANCELLING}),
    # back where answers are missing on the disk: a backup's rows may be older than its files
    _S.FINALIZING: frozenset({_S.COMPLETED, _S.CANCELLING, _S.IN_PROGRESS}),
    _S.CANCELLING: frozenset({_S.CANCELLED}),
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.CANCELLED: frozenset(),
}

TERMINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
# Somebody works on these; the others are over.
WORKABLE = frozenset(TRANSITIONS) - TERMINAL


def may_move(from_status: BatchStatus, to_status: BatchStatus) -> bool:
    """Whether the table has this move."""
    return to_status in TRANSITIONS[from_status]


def moment_of(status: BatchStatus) -> str | None:
    """The column that tells when a batch came into this state; None for the first one, which is its creation."""
    return None if status is BatchStatus.VALIDATING else f"{status.value}_at"
