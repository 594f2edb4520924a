"""What one request holds of its limits, from its admission to its end; the relay tells the end, whatever it is."""

from __future__ import annotations

from inference.gateway.admit import Admitted
from inference.gateway.limits.gates import Gate, Prices, gates_of, need_of
from inference.gateway.limits.headers import headers_of, refusal
from inference.gateway.limits.limiter import Limiter, Reservation
from inference.gateway.limits.outcome import Refused
from inference.gateway.request import Headers
from inference.gateway.usage import Usage


class Held:
    """A reservation with the headers that tell of it. Ending it twice ends it once."""

    def __init__(self, limiter: Limiter, reservation: Reservation, prices: Prices) -> None:
        self._limiter = limiter
        self._reservation = reservation
        self._prices = prices
        told = headers_of(reservation.gates, reservation.left)
        self.headers: Headers = [(name.encode(), value.encode()) for name, value in told]

    def settle(self, used: Usage) -> None:
        """The request ended with this usage."""
        cost = self._prices.cost(used.prompt_tokens, used.cached_tokens, used.completion_tokens)
        self._limiter.settle(self._reservation, used.prompt_tokens + used.completion_tokens, cost)

    def release(self) -> None:
        """No engine saw the request."""
        self._limiter.settle(self._reservation, 0, 0)


async def hold(limiter: Limiter, request_id: str, admitted: Admitted, body_bytes: int) -> Held:
    """Reserve what a request may need at most.

    Raises: ApiError 429.
    """
    gates = gates_for(admitted, body_bytes)
    outcome = await limiter.reserve(request_id, gates)
    if isinstance(outcome, Refused):
        raise refusal(gates, outcome)
    allowance = admitted.key.allowance
    return Held(limiter, outcome, allowance.prices if allowance else Prices())


def gates_for(admitted: Admitted, body_bytes: int) -> tuple[Gate, ...]:
    """All limits that a request has to pass: its tenant's, its key's, its model's in the plan."""
    key, allowance = admitted.key, admitted.key.allowance
    if allowance is None:
        return ()
    need = need_of(body_bytes, admitted.body["max_tokens"], admitted.num_sequences, allowance.prices)
    model = admitted.model.base
    of_model = allowance.models.get(model)
    return (
        *gates_of(f"t:{key.tenant_id}", allowance.tenant, need, "The tenant"),
        *gates_of(f"k:{key.key_id}", allowance.key, need, "The key"),
        *(gates_of(f"m:{key.tenant_id}:{model}", of_model, need, f"The plan's share of {model}") if of_model else ()),
    )
