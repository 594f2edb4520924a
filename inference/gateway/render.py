"""What the gateway itself writes into every request: the tenant's cache salt, the lane's priority, the wish for usage.

The prompt of a hole and its stops are `fim`'s; nothing else changes.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from inference.gateway.admit import Admitted

_encoder = msgspec.json.Encoder()


@functools.lru_cache(maxsize=4096)
def cache_salt(secret: bytes, tenant_id: str) -> str:
    """A tenant's salt of the prefix cache: nobody else's prompts can be guessed through its timing."""
    return hmac.new(secret, tenant_id.encode(), hashlib.sha256).hexdigest()


def engine_body(admitted: Admitted, secret: bytes, priority: int) -> bytes:
    """The bytes that the engine gets; the lower the priority, the sooner it runs."""
    body = admitted.body
    body["priority"] = priority
    body["cache_salt"] = cache_salt(secret, admitted.key.tenant_id)
    if admitted.stream:
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": False}
    return _encoder.encode(body)
