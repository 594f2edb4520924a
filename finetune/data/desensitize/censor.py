"""Cleans short texts on their own, for messages and lists: file and member names can hold secrets too."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders


def censor(text: str) -> str:
    return censor_all([text])[0]


def censor_all(texts: Sequence[str]) -> list[str]:
    """Each text cleaned, all in one scan; the same value has the same name in all of them."""
    cleaner = Cleaner(Placeholders(b""))
    list(cleaner.learn((number, (text,)) for number, text in enumerate(texts)))
    return [
        "REDACTED" if number in cleaner.unclean else cleaner.clean(number, text).text
        for number, text in enumerate(texts)
    ]
