"""What can go wrong while a bundle is built, verified or imported. Each message says what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class BundleError(Exception):
    """A bundle can't be made or used. `permanent` says that trying again unchanged is pointless."""

    code = "bundle_error"
    permanent = True


class BundleRefused(BundleError):
    """A bundle is not what a trusted signer made, or not the newest one; one line per fault."""

    code = "bundle_refused"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class CannotBuild(BundleError):
    """A bundle can't be made of this model, or not at this place."""

    code = "cannot_build_bundle"


class BadKeys(BundleError):
    """A key directory is missing, incomplete, readable by others, or does not belong to its root."""

    code = "bad_bundle_keys"


class NoTrust(BundleError):
    """No trusted root is installed, or it can't be read, or another one is."""

    code = "no_trusted_root"


class NotEnoughSpace(BundleError):
    """The disk that a bundle or model goes to is too full."""

    code = "not_enough_space"


class CannotImport(BundleError):
    """A verified bundle could not be brought to the models' directory."""

    code = "cannot_import_bundle"
