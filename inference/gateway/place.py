"""A request's place at a replica: counted on the board from the choice to the end, whatever the end is."""

from __future__ import annotations

import math
from collections.abc import Callable

from inference.gateway.admit import Admitted
from inference.gateway.board import Board
from inference.gateway.directory import Replica
from inference.gateway.lanes import Lane
from inference.gateway.queue import Errand
from inference.gateway.route import prefix_of
from inference.gateway.usage import Usage

# A tenant's counter grows by what it costs to serve it (VTC, arXiv 2401.00588: output tokens at twice the price of
# input), divided by its weight; in these units per token at weight 100.
INPUT_COST, OUTPUT_COST = 1, 2
UNITS = 10_000
BYTES_PER_TOKEN = 4  # of a request's body, roughly


def cost(prompt_tokens: int, answer_tokens: int, weight: int) -> int:
    """What a request adds to its tenant's counter."""
    return (INPUT_COST * prompt_tokens + OUTPUT_COST * answer_tokens) * UNITS // weight


def errand_of(admitted: Admitted, lane: Lane, body_bytes: int) -> Errand:
    """What routing and the queue have to know of a request whose body, as the engine gets it, has so many bytes."""
    return Errand(
        lane=lane,
        tenant=admitted.key.tenant_id,
        weight=admitted.key.weight,
        model=admitted.model.served_at,
        base=admitted.model.base,
        prefix=prefix_of(admitted),
        num_sequences=admitted.num_sequences,
        prompt_tokens=math.ceil(body_bytes / BYTES_PER_TOKEN),
        max_tokens=admitted.body["max_tokens"],
        num_bytes=body_bytes,
    )


class Place:
    """Left once; leaving twice changes nothing."""

    def __init__(
        self,
        board: Board,
        errand: Errand,
        replica: Replica,
        share: int,
        answer_tokens: int,
        began: float,
        on_left: Callable[[Place, Usage | None], None],
    ) -> None:
        self.replica = replica
        self.errand = errand
        self.began = began
        self._board = board
        self._share = share
        self._on_left = on_left
        self._left = False
        self._life = board.life(replica.life_id)
        self._tokens = errand.prompt_tokens + answer_tokens
        self._charged = cost(errand.prompt_tokens, answer_tokens, errand.weight)
        board.add(self._life, errand.num_sequences, self._tokens)
        board.serve(share, self._charged)

    def leave(self, used: Usage | None = None) -> None:
        """The request ended with this usage, or no engine served it: what was charged beforehand is put right."""
        if self._left or self._board.closed:
            return
        self._left = True
        real = 0 if used is None else cost(used.prompt_tokens, used.completion_tokens, self.errand.weight)
        self._board.add(self._life, -self.errand.num_sequences, -self._tokens)
        self._board.serve(self._share, real - self._charged)
        self._on_left(self, used)
