"""What can go wrong while a support bundle is made."""

from __future__ import annotations


class SupportError(Exception):
    """No support bundle was made; the message says why and what to do."""

    code = "support_error"
    permanent = True


class SecretFound(SupportError):
    """A finished bundle held a secret and was removed."""

    code = "secret_found"
