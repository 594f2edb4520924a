"""What a tenant or a person asked for that can't be done; each carries the API's `code` and `param`, and is permanent."""

from __future__ import annotations


class Refused(Exception):
    """The request was understood and is not carried out; the message says why and what to do."""

    code: str | None = None
    permanent = True

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code


class FileRefused(Refused):
    """An upload that is not taken."""


class FileInUse(Refused):
    """A file that a running fine-tune still needs."""

    code = "file_in_use"


class JobRefused(Refused):
    """A fine-tune that is not begun, or not moved as asked."""


class ApprovalRefused(Refused):
    """A decision on an adapter by somebody who may not take it, or that nobody waits for."""

    code = "approval_refused"


class SignoffRefused(Refused):
    """A data report signed off, or a sign-off taken back, by somebody who may not, or that is no longer the one they saw."""

    code = "signoff_refused"


class AdapterRefused(Refused):
    """An adapter that can't be moved as asked."""


class ErasureRefused(Refused):
    """A file that nothing can be made of and nothing erased with."""

    code = "erasure_refused"


class LeaseLost(Exception):
    """Somebody else holds the job, or it was cancelled or paused: what this attempt has goes no further."""

    code = "lease_lost"
    permanent = False


class NotSigned(Exception):
    """The tenant wants its data's reports signed off first, and one is not: a person has to read it."""

    code = "not_signed_off"
    permanent = False


class BrokeOff(Exception):
    """This attempt ended for a reason that another one may not meet: a process was killed, or a fault of ours."""

    code = "broke_off"
    permanent = False


class AttemptFailed(Exception):
    """The fine-tune itself failed, for good: the job ends with this error."""

    permanent = True

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
