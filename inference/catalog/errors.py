"""What can be wrong with the catalog, or with a question put to it."""

from __future__ import annotations


class CatalogError(Exception):
    """The catalog can't answer. `permanent` says that trying again unchanged is pointless."""

    code = "catalog_error"
    permanent = True


class BadPreset(CatalogError):
    """Preset files hold values that can't be used; the message names all of them."""

    code = "bad_preset"


class UnknownPreset(CatalogError):
    """No preset has this name."""

    code = "unknown_preset"


class NoProfile(CatalogError):
    """A model can't be served on some hardware, or not in the way asked for; the message is the reason."""

    code = "no_profile"


class BadFlags(CatalogError):
    """An engine's flags can't be read."""

    code = "bad_flags"


class CannotRun(CatalogError):
    """A model can't run on some cards in the way asked for; the message says why, and what comes nearest."""

    code = "cannot_run"


class BadCheckpoint(CatalogError):
    """A checkpoint's configuration is missing or broken."""

    code = "bad_checkpoint"
