"""A request's lane: which requests go first where engines are full, in the gateway's queue and in the engine's own."""

from __future__ import annotations

from enum import IntEnum

from inference.gateway.admit import Admitted
from inference.gateway.fim_tokens import FIM_HOLE

CHAT_AGES_S = 10.0  # a chat request that waited so long stands among those that fill in the middle


class Lane(IntEnum):
    """The lower, the sooner."""

    FIM = 0
    CHAT = 1
    EVALUATION = 2
    BATCH = 3

    __hash__ = int.__hash__  # enum's own is ten times as slow, and each request's lane is looked up

    @property
    def label(self) -> str:
        """Its name in metrics."""
        return _LABELS[self]

    @property
    def priority(self) -> int:
        """What vLLM's priority scheduling is told; the pool's canaries, which say nothing, have 0."""
        return int(self)


_LABELS = {lane: lane.name.lower() for lane in Lane}
_OF_KEYS = {"batch": Lane.BATCH, "evaluation": Lane.EVALUATION}


def lane_of(admitted: Admitted) -> Lane:
    """The key's lane, else by what is asked for; a suffix has become the model's own tokens by now."""
    of_key = _OF_KEYS.get(admitted.key.lane)
    if of_key is not None:
        return of_key
    prompt = admitted.body.get("prompt")
    fills = admitted.model.fim and isinstance(prompt, str) and FIM_HOLE in prompt
    return Lane.FIM if fills else Lane.CHAT


def rank(lane: Lane, waited_s: float) -> int:
    """The order of lanes, the smaller first: chat is not kept waiting for ever. Evaluation and batch may be."""
    return Lane.FIM if lane is Lane.CHAT and waited_s >= CHAT_AGES_S else lane
