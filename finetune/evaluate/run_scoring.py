"""Scores texts under a model, with or without an adapter, in a process of an engine slot. Standard library only."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune import files
from finetune.evaluate.errors import EvaluationError
from finetune.evaluate.scored import Scored
from finetune.train import slot

MODULE = "finetune.evaluate.scoring"
TIMEOUT_S = 1800.0


class ScoringFailed(EvaluationError):
    """The scorer ended without all scores; the log says why."""

    code = "scoring_failed"
    permanent = False


def run_scoring(
    slot_python: Path,
    model_path: Path,
    adapter_path: Path | None,
    texts: Sequence[tuple[str, Mapping[str, Any]]],
    log: Path,
    *,
    threads: int | None = None,
    device: str = "cpu",
    max_length: int | None = None,
    devices: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    on_start: Callable[[Callable[[], None]], None] = lambda kill: None,
) -> list[Scored]:
    """The texts' tokens and log-probabilities, in order. A text: its id and a row as in training, or `prompt_ids`.

    It ends with the thread that calls this; its messages for people are appended to `log`. `on_start` is given what ends it
    before its time.
    Raises: ScoringFailed.
    """
    with tempfile.TemporaryDirectory(prefix="scoring-", dir=log.parent) as folder:
        spec = Path(folder) / "spec.json"
        content = {"model_path": str(model_path), "adapter_path": None if adapter_path is None else str(adapter_path)}
        rows = [{**row, "id": name} for name, row in texts]
        more = {"texts": rows, "threads": threads, "device": device, "max_length": max_length}
        files.write_json(spec, content | more)
        environment = slot.environment(slot_python, Path(folder), threads) | dict(devices or {})
        try:
            printed, status = slot.run(slot.command(slot_python, MODULE, spec), environment, log, timeout_s, on_start)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ScoringFailed(f"the scorer could not be run to its end: {error}; see {log}") from error
    if status != 0:
        raise ScoringFailed(f"the scorer ended with status {status}; see {log}")
    scored = [Scored.from_json(json.loads(line)) for line in printed.splitlines()]
    if [row.id for row in scored] != [name for name, _ in texts]:
        raise ScoringFailed(f"{len(scored)} of {len(texts)} texts were scored; see {log}")
    return scored
