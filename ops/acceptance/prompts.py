"""Prompts for a load: source code made from a seed, cut to a number of the model's own tokens.

Two prompts of a run have nothing in common at their beginning, apart from the part that a declared hit rate makes them
share. How many tokens a prompt really had is the server's to say; here it is only aimed at.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Protocol

from inference.gateway.tokens import load
from ops.acceptance.errors import CannotRun

_NOUNS = (
    "order",
    "invoice",
    "cache",
    "parser",
    "token",
    "window",
    "buffer",
    "shard",
    "packet",
    "widget",
    "cursor",
    "route",
)
_VERBS = (
    "load",
    "merge",
    "split",
    "encode",
    "resolve",
    "flush",
    "rotate",
    "verify",
    "collect",
    "schedule",
    "render",
    "drain",
)
_TYPES = ("int", "str", "float", "bytes", "bool")
_CHARACTERS_PER_TOKEN = 4  # what is written before it is cut; code has about three


class Cutter(Protocol):
    """A model's tokenizer, as far as it is needed."""

    def __call__(self, text: str, num_tokens: int) -> str | None:
        """The text's first tokens, or None where it has fewer."""
        ...


def cutter(model_path: Path) -> Cutter:
    """Cut with the tokenizer beside a model's weights.

    Raises: CannotRun when there is none.
    """
    tokenizer = load(model_path / "tokenizer.json")
    if tokenizer is None:
        raise CannotRun(f"{model_path / 'tokenizer.json'} can't be read: prompts can't be cut to a length")

    def cut(text: str, num_tokens: int) -> str | None:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        return text[: offsets[num_tokens - 1][1]] if len(offsets) >= num_tokens > 0 else None

    special = tokenizer.num_special_tokens_to_add(False)
    return lambda text, num_tokens: cut(text, max(num_tokens - special, 1))


class Prompts:
    """The prompts of one run by their number; the same seed gives the same ones. May be called from any thread."""

    def __init__(self, seed: int, input_tokens: int, hit_rate: float, cut: Cutter) -> None:
        self._seed, self._cut, self._tokens = seed, cut, input_tokens
        self._shared = self._text("shared", round(input_tokens * hit_rate)) if hit_rate else ""

    def prompt(self, number: int) -> str:
        """The prompt of one request."""
        return self._text(str(number), self._tokens, self._shared)

    def _text(self, name: str, num_tokens: int, beginning: str = "") -> str:
        rng = random.Random(f"{self._seed}:{name}")  # noqa: S311 - a load, no secret
        text = f"{beginning}\n# {rng.getrandbits(64):016x}\n" if beginning else f"# {rng.getrandbits(64):016x}\n"
        wanted = num_tokens * _CHARACTERS_PER_TOKEN
        while True:
            parts = [text]
            length = len(text)
            while length < wanted:
                parts.append(_function(rng))
                length += len(parts[-1])
            text = "".join(parts)
            cut = self._cut(text, num_tokens)
            if cut is not None:
                return cut
            wanted = length * 3 // 2 + _CHARACTERS_PER_TOKEN


def _function(rng: random.Random) -> str:
    verb, noun, other = rng.choice(_VERBS), rng.choice(_NOUNS), rng.choice(_NOUNS)
    size, limit, kind = rng.randrange(2, 9999), rng.randrange(2, 99), rng.choice(_TYPES)
    return (
        f"\ndef {verb}_{noun}_{size}({noun}: {kind}, {other}s: list[{kind}]) -> {kind}:\n"
        f'    """{verb.capitalize()} the {noun} with every {other} up to {limit}."""\n'
        f"    for index, {other}_{limit} in enumerate({other}s[:{limit}]):\n"
        f"        if {other}_{limit} != {noun} and index % {rng.randrange(2, 17)} == {rng.randrange(0, 2)}:\n"
        f"            {noun} = {rng.choice(_VERBS)}_{other}({noun}, {other}_{limit}, {size})\n"
        f"    return {noun}\n"
    )
