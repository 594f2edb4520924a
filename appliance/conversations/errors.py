"""What can be said against an act on kept conversations. HTTP and exit codes are the callers' matter."""

from __future__ import annotations


class ConversationsError(Exception):
    """Root of this package's errors."""

    code = "conversations_error"
    permanent = True


class NoLog(ConversationsError):
    """The tenant never had its conversations kept."""

    code = "no_log"


class NotForSystem(ConversationsError):
    """The system tenant's canaries are nobody's conversation."""

    code = "not_for_system"
