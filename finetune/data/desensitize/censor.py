"""Cleans one short text on its own, for messages: file and member names can hold secrets too."""

from __future__ import annotations

from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders


def censor(text: str) -> str:
    cleaner = Cleaner(Placeholders(b""))
    list(cleaner.learn([(0, (text,))]))
    return "REDACTED" if cleaner.unclean else cleaner.clean(0, text).text
