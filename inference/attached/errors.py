"""What can be wrong with a server that is to be attached."""

from __future__ import annotations


class AttachedError(Exception):
    """Base of this package's errors; the message is for the operator and holds no secret."""

    code = "attached_error"
    permanent = True


class BadAddress(AttachedError):
    """An address that can't be one of a server."""

    code = "bad_address"


class BadSecret(AttachedError):
    """A key or a CA file that can't be used."""

    code = "bad_secret"


class ServerRefused(AttachedError):
    """The server answered, and can't be attached as it is."""

    code = "server_refused"
