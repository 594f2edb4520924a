"""Takes secrets, people and tenants' names of things out of texts that go into a support bundle.

First the appliance's own secrets by their values, then what looks like one, then everything that training data is cleaned of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders
from ops.support.secrets import MASKED, PASSWORD_IN_ADDRESS, SHAPES, forms

LEFT_OUT = "[left out: a secret in it can't be located]"
PROMPTS = re.compile(r"^.*(?:Received request|prompt: ['\"]).*$", re.MULTILINE)
ADAPTERS = re.compile(r"\bft:[^\s'\",)]+")


class Masker:
    """`known`: from a secret's value to its name. `names`: from a tenant's own word for something to our id of it."""

    def __init__(self, known: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._known = known
        written = {form: shown for name, shown in names.items() for form in forms(name)}
        self._names = dict(sorted(written.items(), key=lambda pair: -len(pair[0])))

    def text(self, text: str) -> str:
        """A log's text, cleaned line by line: what can't be cleaned costs its line only."""
        lines = PROMPTS.sub("[left out: a prompt]", self._plain(text)).splitlines()
        return "".join(f"{line}\n" for line in self._cleaned(lines))

    def value(self, value: Any) -> Any:
        """A value for JSON; its sentences are cleaned, its single words are ids and digests."""
        if isinstance(value, Mapping):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        if not isinstance(value, str):
            return value
        return self.text(value).rstrip("\n") if " " in value else self._plain(value)

    def _plain(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, MASKED)
        for shape in SHAPES.values():
            text = shape.sub(MASKED, text)
        text = PASSWORD_IN_ADDRESS.sub(rf"\1:{MASKED}@", text)
        for name, shown in self._names.items():
            text = text.replace(name, shown)
        return ADAPTERS.sub("[adapter]", text)

    def _cleaned(self, lines: Sequence[str]) -> list[str]:
        cleaner = Cleaner(Placeholders(b""))
        list(cleaner.learn((number, (line,)) for number, line in enumerate(lines)))
        return [
            LEFT_OUT if number in cleaner.unclean else cleaner.clean(number, line).text
            for number, line in enumerate(lines)
        ]
