"""From an Authorization header to the key it carries. Knows nothing of where keys are kept but a way to look a digest
up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from inference.gateway import errors
from inference.gateway.directory import Key

MAX_KEY_BYTES = 512


def authenticate(authorization: bytes | None, find: Callable[[str], Key | None]) -> Key:
    """The key of a `Bearer` header.

    Raises: ApiError 401, one body for every reason.
    """
    scheme, _, token = (authorization or b"").partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or len(token) > MAX_KEY_BYTES:
        raise errors.invalid_key()
    key = find(hashlib.sha256(token).hexdigest())
    if key is None:
        raise errors.invalid_key()
    return key
