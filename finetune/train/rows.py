"""Rows of files to what is trained on: conversations one by one, documents cut, with holes, in the files' order.

Runs inside an engine slot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from finetune.train.errors import RowRefused
from finetune.train.holes import Holes, documents
from finetune.train.tokens import Example, chat_example, shortened


def read_rows(paths: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of some files, each with its place in words.

    Raises: RowRefused when a line is no JSON object.
    """
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                place = f"{path.name} line {number}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise RowRefused(f"{place}: not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise RowRefused(f"{place}: not a JSON object")
                yield place, row


def examples_of(
    tokenizer: Any, paths: Iterable[Path], kind: str, max_length: int, holes: Holes | None = None
) -> list[Example]:
    """Every row as sequences of at most `max_length` tokens; what is left without a learned token is dropped.

    `holes`: of text only; None for none.
    Raises: RowRefused when a row can't be used with this model, naming it.
    """
    found: list[Example] = []
    for number, (place, row) in enumerate(read_rows(paths)):
        try:
            if kind == "chat":
                made = [shortened(chat_example(tokenizer, row["messages"]), max_length)]
            else:
                made = documents(tokenizer, row["text"], number, max_length, holes)
        except KeyError as error:
            raise RowRefused(f"{place}: a {kind} row needs the field {error}") from error
        except (TypeError, ValueError, TemplateError) as error:
            raise RowRefused(f"{place}: the model's chat template or tokenizer can't take it: {error}") from error
        found += [example for example in made if example.spans]
    return found
