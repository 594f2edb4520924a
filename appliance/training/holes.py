"""Whether a base model can be taught to fill in the middle, and with which tokens: the ones that the gateway asks it with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from appliance.registry.models import ModelVersion
from appliance.training.errors import AttemptFailed, JobRefused
from finetune.train.hyperparameters import AUTO
from inference.gateway import fim_tokens

log = logging.getLogger("coderack.training")


def tokens_of(base: ModelVersion) -> tuple[int, int, int] | None:
    """The ids of begin, hole and end; None for a model that is not asked to fill in the middle.

    Raises: AttemptFailed where its tokenizer can't be read.
    """
    if not base.fim:
        return None
    path = Path(base.path) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        log.error("%s can't be read: %s", path, error)  # a tenant gets no paths
        raise AttemptFailed("server_error", f"the tokenizer of {base.name} can't be read; tell the operator") from error
    found = fim_tokens.read(Path(base.path), tokenizer)
    return None if found is None else (found.begin, found.hole, found.end)


def check(base: ModelVersion, hyperparameters: Mapping[str, Any]) -> None:
    """Holes need a model that fills them.

    Raises: JobRefused where some are asked for, and it doesn't.
    """
    rate = hyperparameters["fim_rate"]
    if rate not in (AUTO, 0) and not base.fim:
        raise JobRefused(f"{base.name!r} does not fill in the middle: leave fim_rate out.", "hyperparameters.fim_rate")
