"""The new version's engines, each asked directly on its socket before any tenant's request reaches them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from tokenizers import Tokenizer

from appliance.fleet.models import Replica
from appliance.operations.engines import wait_ready
from appliance.operations.upgrade_steps.base import RowStep
from appliance.registry.models import ModelVersion
from appliance.training.errors import BrokeOff
from appliance.training.serving import EngineSampler, NoEngine, ReadyEngine
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from inference.metering.journal import JournalWriter
from ops.upgrade.errors import StepFailed

PROMPTS = ("def add(a, b):\n    ", "# Read a JSON file\nimport json\n", "SELECT name FROM ")
FIM_PROMPT = f"{FIM_BEGIN}def add(a, b):\n    {FIM_HOLE}\n    return total\n{FIM_END}"
SCORED_IDS = list(range(3, 35))  # any token ids that every vocabulary has
MAX_TOKENS = 16


class Smoke(RowStep):
    """It answers, the same twice at temperature 0, with probabilities that are numbers; FIM tokens are tokens."""

    name = "smoke"

    def apply(self) -> None:
        """Ask every replica.

        Raises: StepFailed saying what came instead.
        """
        model, asked = self.new().model, 0
        ready = wait_ready(self.new(), self.tell)
        if model.fim:
            _require_fim_tokens(model)
        with _journal() as journal:
            for row in ready:
                sampler = EngineSampler(_engine(row), journal)
                try:
                    _try(sampler, model)
                except (NoEngine, BrokeOff) as error:
                    raise StepFailed(f"replica {row.index} of the new version: {error}") from error
                asked += sampler.num_requests
        self.note(replicas=len(ready), requests=asked)


@contextmanager
def _journal() -> Iterator[JournalWriter]:
    journal = JournalWriter(settings.ENV.journal_dir, "upgrade")
    try:
        yield journal
    finally:
        journal.close()


def _engine(row: Replica) -> ReadyEngine:
    if row.life is None:
        raise StepFailed(f"replica {row.index} lost its engine: {row.reason or 'see the pool log'}")
    return ReadyEngine(str(row.pk), str(row.life.pk), Path(row.life.socket))


def _try(sampler: EngineSampler, model: ModelVersion) -> None:
    for prompt in (*PROMPTS, FIM_PROMPT) if model.fim else PROMPTS:
        first, again = (sampler.complete(model.name, prompt, MAX_TOKENS) for _ in range(2))
        if not first.strip():
            raise StepFailed(f"the new version answered {prompt!r} with nothing")
        if first != again:
            raise StepFailed(f"the new version answered {prompt!r} with {first!r} and then with {again!r}")
    scores = [score for score in sampler.score(model.name, SCORED_IDS) if score is not None]
    if not scores or not all(math.isfinite(score) and score <= 0 for score in scores):
        raise StepFailed(f"the new version's log-probabilities are no such: {scores[:5]}")


def _require_fim_tokens(model: ModelVersion) -> None:
    path = Path(model.path) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise StepFailed(f"{path} can't be read: {error}") from error
    for token in (FIM_BEGIN, FIM_HOLE, FIM_END):
        if len(tokenizer.encode(token, add_special_tokens=False).ids) != 1:
            raise StepFailed(f"{token} is no token of the new version: it can't fill in the middle")
