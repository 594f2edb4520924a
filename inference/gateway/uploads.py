"""How much of large bodies a worker holds before their requests are admitted: bounded over all, and for each tenant and key.

A body that is small is never counted, so that a flood of large ones stands in nobody else's way.
"""

from __future__ import annotations

from collections import Counter

from inference.gateway import errors
from inference.gateway.directory import Key

SMALL_BYTES = 64 * 1024
TENANT_PART, KEY_PART = 2, 4  # a tenant has half of the room at most, a key a quarter


class Uploads:
    """One worker's; `largest` is the size that a single body may have, for which any share has room."""

    def __init__(self, max_bytes: int, largest: int) -> None:
        self._left = max(max_bytes, largest)
        self._of_tenant, self._of_key = max(max_bytes // TENANT_PART, largest), max(max_bytes // KEY_PART, largest)
        self._taken: Counter[str] = Counter()

    def take(self, key: Key, num_bytes: int) -> None:
        """Room for so much of a body of this key.

        Raises: ApiError 503.
        """
        tenant, own = f"t:{key.tenant_id}", f"k:{key.key_id}"
        full = num_bytes > self._left
        if full or self._taken[tenant] + num_bytes > self._of_tenant or self._taken[own] + num_bytes > self._of_key:
            raise errors.overloaded("Too many large requests are being received. Try again later.")
        self._left -= num_bytes
        self._taken[tenant] += num_bytes
        self._taken[own] += num_bytes

    def give(self, key: Key, num_bytes: int) -> None:
        """The room is free again."""
        self._left += num_bytes
        for name in (f"t:{key.tenant_id}", f"k:{key.key_id}"):
            self._taken[name] -= num_bytes
            if not self._taken[name]:
                del self._taken[name]
