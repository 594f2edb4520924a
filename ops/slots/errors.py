"""What can go wrong while an engine slot is chosen, installed or checked. Each message says what to do about it."""

from __future__ import annotations


class SlotError(Exception):
    """An engine slot can't be had. `permanent` says that trying again unchanged is pointless."""

    code = "slot_error"
    permanent = True


class UnknownFlavour(SlotError):
    """The flavour asked for is not one that a lock file exists for."""

    code = "unknown_flavour"


class BadLock(SlotError):
    """A lock file is missing or is not a list of pinned, hashed requirements."""

    code = "bad_lock"


class NotEnoughDisk(SlotError):
    """The file system under the cache directory is too full."""

    code = "not_enough_disk"


class PythonMissing(SlotError):
    """No Python 3.11 that can make virtual environments."""

    code = "python_missing"


class CpuTorchMissing(SlotError):
    """pip was told of no place that has the CPU build of torch."""

    code = "cpu_torch_missing"


class PackageMissing(SlotError):
    """A package of the lock file is not offered by any configured index."""

    code = "package_missing"


class HashMismatch(SlotError):
    """A downloaded package is not the one that was locked."""

    code = "hash_mismatch"


class NoNetwork(SlotError):
    """The package index can't be reached."""

    code = "no_network"
    permanent = False


class InstallFailed(SlotError):
    """pip failed in a way that has no message of its own; its last lines are in the message."""

    code = "install_failed"
    permanent = False


class SlotBroken(SlotError):
    """A slot's directory is not what its record says, or its packages can't be imported."""

    code = "slot_broken"
