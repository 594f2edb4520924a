"""The states of a replica and the one table of moves between them.

`stopped` is an ending somebody wanted, `failed` one nobody did (or a start for which devices are missing): a failed
replica is started again once its back-off is over.
"""

from enum import StrEnum


class ReplicaState(StrEnum):
    STARTING = "starting"  # the engine is about to be started
    LOADING = "loading"  # its process runs, its socket does not answer yet
    WARMING = "warming"  # it answers, and has yet to complete a first token
    READY = "ready"  # the gateway may send it requests
    DRAINING = "draining"  # no new requests; the ones it has may end
    SLEEPING = "sleeping"  # its weights are in the host's memory, its devices are lent
    STOPPED = "stopped"
    FAILED = "failed"


_S = ReplicaState

TRANSITIONS: dict[ReplicaState, frozenset[ReplicaState]] = {
    _S.STARTING: frozenset({_S.LOADING, _S.STOPPED, _S.FAILED}),
    _S.LOADING: frozenset({_S.WARMING, _S.STOPPED, _S.FAILED}),
    _S.WARMING: frozenset({_S.READY, _S.STOPPED, _S.FAILED}),
    _S.READY: frozenset({_S.DRAINING, _S.FAILED}),
    _S.DRAINING: frozenset({_S.SLEEPING, _S.STOPPED, _S.FAILED}),
    _S.SLEEPING: frozenset({_S.WARMING, _S.STOPPED, _S.FAILED}),
    _S.STOPPED: frozenset({_S.STARTING, _S.FAILED}),
    _S.FAILED: frozenset({_S.STARTING, _S.STOPPED}),
}

# States in which an engine may be running.
LIVE = frozenset({_S.STARTING, _S.LOADING, _S.WARMING, _S.READY, _S.DRAINING, _S.SLEEPING})


def may_move(from_state: ReplicaState, to_state: ReplicaState) -> bool:
    return to_state in TRANSITIONS[from_state]
