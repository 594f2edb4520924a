"""What one request holds of its limits, from its admission to its end; the relay tells the end, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator

from inference import failpoints
from inference.gateway.admit import Admitted
from inference.gateway.directory import Allowance, Key
from inference.gateway.limits.gates import AMOUNTS, Gate, NamedGate, Prices, named_gates, need_of
from inference.gateway.limits.headers import header_bytes, refusal
from inference.gateway.limits.limiter import Limiter, Reservation
from inference.gateway.limits.outcome import Refused
from inference.gateway.open_requests import OpenRequests, OpenSlot
from inference.gateway.usage import Usage


class Held:
    """A reservation with the headers that tell of it, and its slot among the open requests. Ending it twice ends it once."""

    def __init__(self, limiter: Limiter, reservation: Reservation, prices: Prices, slot: OpenSlot) -> None:
        self._limiter = limiter
        self._reservation = reservation
        self.prices = prices
        self.slot = slot
        self.headers = header_bytes(reservation.gates, reservation.left)

    def settle(self, used: Usage, *, booked: bool = True) -> None:
        """The request ended with this usage; `booked` says whether the journal has it already."""
        tokens = used.prompt_tokens + used.completion_tokens
        cost = self.prices.cost(used.prompt_tokens, used.cached_tokens, used.completion_tokens)
        self.slot.end(tokens, cost, booked=booked)
        self._limiter.settle(self._reservation, tokens, cost)

    def release(self) -> None:
        """No engine saw the request."""
        self.slot.end(0, 0, booked=True)
        self._limiter.settle(self._reservation, 0, 0)


async def hold(
    limiter: Limiter, open_requests: OpenRequests, request_id: str, admitted: Admitted, body_bytes: int
) -> Held:
    """Reserve what a request may need at most.

    Raises: ApiError 429.
    """
    gates = gates_for(admitted, body_bytes)
    slot = open_requests.hold(request_id)
    try:
        failpoints.reach("gateway.before_reserving")
        outcome = await limiter.reserve(request_id, gates)
        failpoints.reach("gateway.reserved")
        if isinstance(outcome, Refused):
            raise refusal(gates, outcome)
    except BaseException:
        slot.free()
        raise
    allowance = admitted.key.allowance
    held = Held(limiter, outcome, allowance.prices if allowance else Prices(), slot)
    held.headers += admitted.dropped.headers
    return held


def gates_for(admitted: Admitted, body_bytes: int) -> tuple[Gate, ...]:
    """All limits that a request has to pass: its tenant's, its key's, its model's in the plan."""
    key, allowance = admitted.key, admitted.key.allowance
    if allowance is None:
        return ()
    need = need_of(body_bytes, admitted.body["max_tokens"], admitted.num_sequences, allowance.prices)
    model = admitted.model.base
    named = allowance.named.get((key.key_id, model))
    if named is None:
        named = allowance.named[key.key_id, model] = tuple(_named(key, allowance, model))
    amounts = (1, need.tokens, need.spend_micros)
    return tuple([Gate(name, kind, limit, amounts[AMOUNTS[kind]], whose) for name, kind, limit, whose in named])


def _named(key: Key, allowance: Allowance, model: str) -> Iterator[NamedGate]:
    yield from named_gates(f"t:{key.tenant_id}", allowance.tenant, "The tenant")
    yield from named_gates(f"k:{key.limits_of or key.key_id}", allowance.key, "The key")
    of_model = allowance.models.get(model)
    if of_model is not None:
        yield from named_gates(f"m:{key.tenant_id}:{model}", of_model, f"The plan's share of {model}")
