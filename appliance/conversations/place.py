"""Where the conversations lie."""

from __future__ import annotations

from django.conf import settings

from inference.conversations.vault import Vault


def vault() -> Vault:
    """The appliance's directory of conversations and its keys."""
    return Vault(settings.ENV.conversation_dir, settings.ENV.conversation_key)
