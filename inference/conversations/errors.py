"""What can go wrong with kept conversations. Callers decide what to tell; nothing here speaks HTTP."""

from __future__ import annotations


class ConversationError(Exception):
    """Root of this package's errors."""

    code = "conversation_error"
    permanent = False


class Erased(ConversationError):
    """The key or the file of a conversation is gone: nobody can read it any more."""

    code = "conversation_erased"
    permanent = True


class Damaged(ConversationError):
    """A record that is not what was written there."""

    code = "conversation_damaged"
    permanent = True
