"""The names that values get, and what is remembered of a value: enough to try later whether a model learned it."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from finetune.data.desensitize.spans import Span

PREFIX = "REDACTED_"
CONTEXT_CHARACTERS = 200
# A model can only be asked to continue something; a context shorter than this says too little.
MIN_CONTEXT = 20


@dataclass(frozen=True)
class Planted:
    """One value that was taken out: its keyed digest, never the value."""

    digest: str
    length: int
    rule: str
    context: str

    def content(self) -> dict[str, Any]:
        return vars(self)


class Placeholders:
    """Names values in the order they appear, the same value always alike; counts replacements by rule."""

    def __init__(self, secret: bytes) -> None:
        self.replacements: Counter[str] = Counter()
        self._secret = secret
        self._names: dict[str, str] = {}
        self._planted: dict[str, Planted] = {}
        self._distinct: Counter[str] = Counter()
        self._per_kind: Counter[str] = Counter()

    @property
    def num_distinct(self) -> int:
        """How many different values have a name."""
        return len(self._names)

    def name(self, span: Span, value: str, context: str) -> str:
        """The placeholder for a value, which `context` (cleaned already) precedes."""
        self.replacements[span.rule] += 1
        if span.key not in self._names:
            self._per_kind[span.kind] += 1
            self._distinct[span.rule] += 1
            self._names[span.key] = f"{PREFIX}{span.kind}_{self._per_kind[span.kind]}"
            digest = hmac.new(self._secret, value.encode(), hashlib.sha256).hexdigest()
            self._planted[span.key] = Planted(digest, len(value), span.rule, context)
        elif len(self._planted[span.key].context) < MIN_CONTEXT < len(context):
            self._planted[span.key] = replace(self._planted[span.key], context=context)
        return self._names[span.key]

    def by_rule(self) -> dict[str, dict[str, int]]:
        return {
            rule: {"replacements": count, "distinct": self._distinct[rule]}
            for rule, count in sorted(self.replacements.items())
        }

    def planted(self, limit: int) -> list[dict[str, Any]]:
        """At most `limit` of the values, evenly chosen in the order of their appearance."""
        every = list(self._planted.values())
        step = max(1.0, len(every) / limit)
        return [every[int(index * step)].content() for index in range(min(limit, len(every)))]
