"""What the gateway itself writes into a request: the FIM prompt, the tenant's cache salt, the lane's priority, the wish
for usage. Nothing else changes.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import msgspec

from inference.gateway import errors
from inference.gateway.directory import Model

if TYPE_CHECKING:
    from inference.gateway.admit import Admitted

# DeepSeek-Coder-V2-Lite's tokens in PSM order, with U+FF5C and U+2581 (ASCII look-alikes are other tokens).
FIM_BEGIN = "<\uff5cfim\u2581begin\uff5c>"
FIM_HOLE = "<\uff5cfim\u2581hole\uff5c>"
FIM_END = "<\uff5cfim\u2581end\uff5c>"

_encoder = msgspec.json.Encoder()


def apply_suffix(fields: dict[str, Any], model: Model) -> None:
    """Turn prompt and suffix into the model's FIM prompt; an absent, null or empty suffix means none.

    Raises: ApiError 400 with param suffix.
    """
    suffix = fields.pop("suffix", None)
    if suffix is None or suffix == "":
        return
    if not isinstance(suffix, str):
        raise errors.bad_field("suffix", "suffix must be a string.")
    if not model.fim:
        raise errors.bad_field("suffix", "This model does not fill in the middle; send no suffix.")
    prompt = fields["prompt"]
    if not isinstance(prompt, str):
        raise errors.bad_field("prompt", "With a suffix, prompt must be a single string.")
    fields["prompt"] = f"{FIM_BEGIN}{prompt}{FIM_HOLE}{suffix}{FIM_END}"


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
