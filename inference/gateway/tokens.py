"""Counts a request's tokens with its model's own tokenizer, in threads, for those requests whose bytes don't settle
the matter.

Chat is counted without its template: a lower bound, so that nobody is refused wrongly (the engine has the last word).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from inference.gateway import control_tokens, fim_cut, fim_tokens
from inference.gateway.body import prompts_of
from inference.gateway.control_tokens import ControlTokens
from inference.gateway.fewest_tokens import FewestTokens, fewest_tokens
from inference.gateway.fim_cut import Kept, NoRoom
from inference.gateway.fim_tokens import FimTokens

log = logging.getLogger(__name__)

# What a chat template adds, at most, in the templates of the catalog: room kept free when max_tokens is filled in.
TEMPLATE_TOKENS = 64
TEMPLATE_TOKENS_PER_MESSAGE = 8
TOOL_CHARACTERS_PER_TOKEN = 3


class TokenCounter:
    """Tokenizers by model directory, loaded at first use, and what they say of control tokens."""

    def __init__(self) -> None:
        self._loaded: dict[Path, Tokenizer | None] = {}
        self._control: dict[Path, ControlTokens] = {}
        self._fim: dict[Path, FimTokens | None] = {}
        self._fewest: dict[Path, FewestTokens | None] = {}

    async def control_tokens(self, model_path: Path) -> ControlTokens:
        """The tokens that a chat's text must not hold; read from the tokenizer at first use."""
        if model_path not in self._control:
            self._control[model_path] = await asyncio.to_thread(self._read_control, model_path)
        return self._control[model_path]

    def _read_control(self, model_path: Path) -> ControlTokens:
        return control_tokens.read(model_path, self._tokenizer(model_path))

    async def fim_tokens(self, model_path: Path) -> FimTokens | None:
        """The tokens that a hole is written with; None where the model's tokenizer lacks one."""
        if model_path not in self._fim:
            self._fim[model_path] = await asyncio.to_thread(self._read_fim, model_path)
        return self._fim[model_path]

    def _read_fim(self, model_path: Path) -> FimTokens | None:
        return fim_tokens.read(model_path, self._tokenizer(model_path))

    async def fit_hole(
        self, model_path: Path, prefix: str, suffix: str, write: Callable[[str, str], str], most: int
    ) -> Kept:
        """The text around a hole, cut so that the prompt written from it has at most so many tokens.

        Raises: NoRoom.
        """
        return await asyncio.to_thread(self._fit_hole, model_path, prefix, suffix, write, most)

    def _fit_hole(
        self, model_path: Path, prefix: str, suffix: str, write: Callable[[str, str], str], most: int
    ) -> Kept:
        tokenizer = self._tokenizer(model_path)
        if tokenizer is None:  # who has fim_tokens has a tokenizer
            raise NoRoom
        return fim_cut.fit(tokenizer, prefix, suffix, write, most)

    async def longest_prompt(self, model_path: Path, body: dict[str, Any], limit: int | None = None) -> int:
        """Tokens of the longest single prompt of a request; of one that is over the limit by far, at least so many."""
        return max(await self._lengths(model_path, body, limit))

    async def whole_prompt(self, model_path: Path, body: dict[str, Any]) -> int:
        """Tokens of all prompts of a request together, at least."""
        return sum(await self._lengths(model_path, body))

    async def _lengths(self, model_path: Path, body: dict[str, Any], limit: int | None = None) -> list[int]:
        messages: list[dict[str, Any]] | None = body.get("messages")
        prompts = prompts_of(body["prompt"]) if messages is None else []
        if messages is None and all(isinstance(prompt, list) for prompt in prompts):
            return [len(prompt) for prompt in prompts]
        return await asyncio.to_thread(self._count, model_path, messages, prompts, limit)

    def _count(
        self, model_path: Path, messages: list[dict[str, Any]] | None, prompts: list[Any], limit: int | None
    ) -> list[int]:
        if limit is not None:
            fewest = self._fewest_of(model_path, messages, prompts)
            if fewest > limit:
                return [fewest]
        tokenizer = self._tokenizer(model_path)
        if tokenizer is None:
            # Nothing to count with: the engine, which has its own, decides alone.
            return [0 if isinstance(prompt, str) else len(prompt) for prompt in prompts] or [0]
        # In batches, also of one: for a single text the library keeps all other threads from running.
        if messages is not None:
            encodings = tokenizer.encode_batch_fast(chat_texts(messages), add_special_tokens=False)
            return [sum(len(encoding) for encoding in encodings)]
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        counted = map(len, tokenizer.encode_batch_fast(texts, add_special_tokens=True))
        return [len(prompt) if isinstance(prompt, list) else next(counted) for prompt in prompts]

    def _fewest_of(self, model_path: Path, messages: list[dict[str, Any]] | None, prompts: list[Any]) -> int:
        """A lower bound of the longest prompt, in a hundredth of the time that counting takes; 0 where there is none."""
        if model_path not in self._fewest:
            tokenizer = self._tokenizer(model_path)
            self._fewest[model_path] = None if tokenizer is None else fewest_tokens(tokenizer.to_str())
        bound = self._fewest[model_path]
        if bound is None:
            return 0
        if messages is not None:
            return sum(map(bound.of, chat_texts(messages)))
        return max((bound.of(prompt) for prompt in prompts if isinstance(prompt, str)), default=0)

    def _tokenizer(self, model_path: Path) -> Tokenizer | None:
        if model_path not in self._loaded:
            self._loaded[model_path] = load(model_path / "tokenizer.json")
        return self._loaded[model_path]


def load(path: Path) -> Tokenizer | None:
    """A tokenizer that neither cuts nor pads, or None where the file is of no use."""
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception for a malformed file
        log.error("no tokenizer at %s: %s", path, error)
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def chat_texts(messages: list[dict[str, Any]]) -> list[str]:
    """The texts of checked messages, in order."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif content:
            texts.extend(part if isinstance(part, str) else part[part["type"]] for part in content)
    return texts


def max_prompt_tokens(body: dict[str, Any], body_bytes: int) -> int:
    """An upper bound of the longest prompt without counting: a token has at least one byte."""
    if "messages" in body:
        # The raw body holds the messages and tools, each with more punctuation than its template adds.
        return body_bytes
    return 1 + max(len(one) if isinstance(one, list) else len(one.encode()) for one in prompts_of(body["prompt"]))


def template_tokens(body: dict[str, Any]) -> int:
    """Room for what the engine adds to the counted prompt."""
    if "messages" not in body:
        return 0
    tools = len(msgspec.json.encode(body["tools"])) // TOOL_CHARACTERS_PER_TOKEN if body.get("tools") else 0
    return TEMPLATE_TOKENS + TEMPLATE_TOKENS_PER_MESSAGE * len(body["messages"]) + tools
