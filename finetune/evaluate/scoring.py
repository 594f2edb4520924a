"""`python -m finetune.evaluate.scoring --spec s.json [--parent PID]`: log-probabilities as the training stack sees them.

Runs inside an engine slot, and prints one JSON line per text. Texts become tokens exactly as they do in training; one at
a time, so that none is padded. Exit status 1, with the reason on the standard error, when a text can't be scored.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune.train.parent import die_with

MAX_LENGTH = 2048  # tokens; what is longer is cut at the end


def main() -> int:
    """Score every text of a specification; the exit status."""
    arguments = _arguments()
    if arguments.parent is not None:
        die_with(arguments.parent)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    from finetune.train.errors import TrainError  # noqa: PLC0415 - nothing may come before the lines above
    from finetune.train.events import EventWriter  # noqa: PLC0415

    lines = EventWriter()
    try:
        _score(json.loads(arguments.spec.read_bytes()), lines)
    except TrainError as error:
        logging.error("%s: %s", error.code, error)
        return 1
    return 0


def tokens_of(tokenizer: Any, text: Mapping[str, Any], max_length: int) -> tuple[array[int], int]:
    """A text's tokens and where its answer begins: after the prompt, or at 1 where there is none.

    `messages` is a conversation whose last message is the answer. `prompt_ids` are taken as they are, a `text` beside
    them is the answer. `text` alone is a document.
    """
    from finetune.train.tokens import chat_example, text_ids  # noqa: PLC0415 - the slot's packages come late

    if "messages" in text:
        example = chat_example(tokenizer, text["messages"])
        return example.ids[:max_length], min(example.spans[-1][0], max_length)
    if "prompt_ids" in text:
        ids = array("i", text["prompt_ids"])
        start = len(ids) if "text" in text else 1
        if "text" in text:
            ids.extend(tokenizer(text["text"], add_special_tokens=False, verbose=False)["input_ids"])
        return ids[:max_length], min(start, max_length)
    return text_ids(tokenizer, text["text"])[:max_length], 1


def _score(spec: Mapping[str, Any], lines: Any) -> None:
    import torch  # noqa: PLC0415 - takes seconds: the parent's end is watched before

    from finetune.train import head  # noqa: PLC0415
    from finetune.train.errors import RowRefused  # noqa: PLC0415
    from finetune.train.model import load_adapter, load_base, load_tokenizer  # noqa: PLC0415

    if spec.get("threads"):
        torch.set_num_threads(spec["threads"])
    device, model_path = spec.get("device") or "cpu", Path(spec["model_path"])
    tokenizer = load_tokenizer(model_path)
    model = load_base(model_path, device).eval()
    if spec.get("adapter_path"):
        model = load_adapter(model, Path(spec["adapter_path"]))
    head.check_head(model, device)
    for text in spec["texts"]:
        try:
            ids, start = tokens_of(tokenizer, text, spec.get("max_length") or MAX_LENGTH)
        except (KeyError, TypeError, ValueError) as error:
            raise RowRefused(f"text {text.get('id')}: it can't be made into tokens: {error}") from error
        with torch.no_grad(), head.autocast(device):
            found = head.log_probabilities(model, torch.tensor([list(ids)], dtype=torch.int64, device=device))
        lines.write(id=text["id"], token_ids=list(ids), logprobs=[None, *found][: len(ids)], answer_start=start)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="finetune.evaluate.scoring", description="Score texts under a model.")
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="end with this process, which must be the one that started us")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
