"""What can go wrong while an acceptance run is prepared or a certificate is read. Each message says what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class AcceptanceError(Exception):
    """A run can't be made, or a certificate can't be used. `permanent` says that trying again unchanged is pointless."""

    code = "acceptance_error"
    permanent = True


class BadWorkload(AcceptanceError):
    """What was asked for can't be run on this box; one line per fault."""

    code = "bad_workload"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class CannotRun(AcceptanceError):
    """The appliance is not in a state in which a run would say anything."""

    code = "cannot_run_acceptance"
    permanent = False


class BadSigningKey(AcceptanceError):
    """The box's signing key is missing, readable by others, or no Ed25519 key."""

    code = "bad_signing_key"


class CertificateRefused(AcceptanceError):
    """A certificate is not what its signer signed, or does not follow from its own figures; one line per fault."""

    code = "certificate_refused"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
