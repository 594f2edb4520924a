"""Rows to token sequences, with the positions that are learned from.

Chat rows go through the model's own template, and only what the assistant says is learned, with the token that ends its
turn. Text is learned whole, in windows. Pure functions of a row and a tokenizer; files are `rows`' matter, holes `holes`'.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.train.literal import broken, parts

Message = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A token sequence. `spans`: the half-open ranges of positions that are learned; position 0 can't be predicted.

    `has_hole`: a document whose middle comes last.
    """

    ids: array[int]
    spans: tuple[tuple[int, int], ...]
    has_hole: bool = False

    @property
    def answer_tokens(self) -> int:
        return sum(end - start for start, end in self.spans)


def chat_example(tokenizer: Any, messages: Sequence[Message]) -> Example:
    """A conversation as the model's template writes it; what comes after the last answer is left off.

    Prompt and answer are tokenized apart, as they are when the model is asked: its own tokens begin after the prompt's.
    Raises: ValueError when there is no last answer, or the template does not put it after its prompt.
    """
    if not messages or messages[-1]["role"] != "assistant":
        raise ValueError("the last message must be the assistant's")
    messages = [message | {"content": broken(tokenizer, message["content"])} for message in messages]
    full = _render(tokenizer, messages)
    ids: array[int] = array("i")
    spans, done = [], 0
    for start, end in answer_ranges(tokenizer, messages, full):
        ids.extend(_rendered(tokenizer, full[done:start]))
        first = len(ids)
        ids.extend(_rendered(tokenizer, full[start:end]))
        spans.append((max(1, first), len(ids)))
        done = end
    return Example(ids, tuple(spans))


def answer_ranges(tokenizer: Any, messages: Sequence[Message], full: str) -> list[tuple[int, int]]:
    """The character ranges of the assistant's answers: of all of them, or of the last where a template rewrites history."""
    turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    ranges = [_answer_range(tokenizer, messages, turn, full) for turn in turns]
    if ranges[-1] is None:
        raise ValueError("the chat template does not write the last answer after its prompt")
    found = [part for part in ranges if part is not None]
    return found if len(found) == len(ranges) else found[-1:]


def _answer_range(tokenizer: Any, messages: Sequence[Message], turn: int, full: str) -> tuple[int, int] | None:
    prompt = _render(tokenizer, messages[:turn], add_generation_prompt=True)
    answered = _render(tokenizer, messages[: turn + 1])
    if not (full.startswith(answered) and answered.startswith(prompt)):
        return None
    # many templates end a turn with a line break after the end token: the model never writes that one
    end = str(tokenizer.eos_token or "")
    bare = answered.rstrip()
    return len(prompt), len(bare) if end and bare.endswith(end) and len(bare) > len(prompt) else len(answered)


def text_ids(tokenizer: Any, text: str) -> array[int]:
    """A text with the tokenizer's own special tokens, ended by the end token."""
    whole = len(parts(tokenizer, text)) == 1
    ids = array(
        "i", tokenizer(text, verbose=False)["input_ids"] if whole else [*lead(tokenizer), *encode(tokenizer, text)]
    )
    if tokenizer.eos_token_id is not None and (not ids or ids[-1] != tokenizer.eos_token_id):
        ids.append(tokenizer.eos_token_id)
    return ids


def lead(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text."""
    ids: list[int] = list(tokenizer("", verbose=False)["input_ids"])
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids


def windows(ids: array[int], max_length: int) -> list[Example]:
    """A long text in pieces that don't overlap; a last piece of one token has nothing to learn."""
    pieces = [ids[start : start + max_length] for start in range(0, len(ids), max_length)]
    return [Example(piece, ((1, len(piece)),)) for piece in pieces if len(piece) > 1]


def shortened(example: Example, max_length: int) -> Example:
    """At most `max_length` tokens, cut at the end."""
    spans = [(start, min(end, max_length)) for start, end in example.spans if start < min(end, max_length)]
    return Example(example.ids[:max_length], tuple(spans))


def _render(tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
    return str(
        tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=add_generation_prompt)
    )


def encode(tokenizer: Any, text: str) -> list[int]:
    """A part of somebody's text: no begin, no end, and no mark that it says is one."""
    return [token for part in parts(tokenizer, text) for token in _rendered(tokenizer, part)]


def _rendered(tokenizer: Any, text: str) -> list[int]:
    """Text as a template wrote it, its marks included."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text else []
    return ids
