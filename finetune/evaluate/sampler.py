"""What the checks need of a serving stack. The appliance implements it over its engines; tests over plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Completion:
    """One raw completion to ask for; no chat template is applied. At most four stop strings, vLLM's limit."""

    model: str
    prompt: str | list[int]
    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()


class Sampler(Protocol):
    """A serving stack: `model` is a base model's or an adapter's name. A failure is raised, never answered."""

    def complete(
        self,
        model: str,
        prompt: str | list[int],
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
    ) -> str:
        """The text that follows the prompt."""
        ...

    def complete_many(self, requests: Sequence[Completion]) -> list[str]:
        """The answers in the order of the requests, which run side by side as far as the engine allows."""
        ...

    def score(self, model: str, token_ids: list[int]) -> list[float | None]:
        """The log-probability of each token given those before it; None for the first."""
        ...
