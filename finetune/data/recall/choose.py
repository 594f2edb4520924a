"""Recalls from the corpora what is most like the rows of one fine-tune, up to a share of everything that is trained on.

Each half of the corpora is judged by a classifier that has seen nothing of it: a file that served as an example of what the
tenant's is not would be judged lower for that alone. The same files, share and seed give the same rows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from finetune.data.duplicates import NearDuplicates
from finetune.data.files import sha256_of, whole, write_json
from finetune.data.limits import DEFAULT
from finetune.data.recall.classifier import TEXT_CHARACTERS, Classifier, Scores, balanced_accuracy
from finetune.data.recall.corpora import Corpus, rows_of
from finetune.data.recall.lines import Lines
from finetune.data.room import Room
from finetune.data.rows import TextRow

ROWS, REPORT = "replay.jsonl", "report.json"
FORMAT = 1
LEAST_ROWS = 10  # of the tenant's and of the corpora: fewer teach no classifier
MOST_EXAMPLES = 1000  # of each side
HELD_OUT = 5  # one of so many examples is kept to measure with
AT_ONCE = 64
CLOSE_ENOUGH = 0.01  # of the room: what is left then is not filled with whatever happens to fit


class CorpusDamaged(Exception):
    """A corpus is not what was registered."""

    code = "corpus_damaged"
    permanent = True


@dataclass(frozen=True)
class Wanted:
    """`own` is trained on; nothing that is recalled may be like it or like the rows `beside` it. `share`: of both together."""

    own: Path
    beside: tuple[Path, ...]
    share: float
    seed: int

    def room_bytes(self, own_bytes: int) -> int:
        """How many bytes of rows may be mixed in."""
        return int(own_bytes * self.share / (1 - self.share))


@dataclass(frozen=True)
class _Judged:
    """All rows of the corpora with their scores. `accuracy` was measured on `examples` that no classifier had seen."""

    scores: Scores
    accuracy: float
    own_examples: int
    other_examples: int


def recall(wanted: Wanted, root: Path, corpora: Sequence[Corpus], out: Path) -> dict[str, Any]:
    """Write the recalled rows and a report into `out`; the report.

    Raises: CorpusDamaged; NoRoom.
    """
    own, pool = Lines([wanted.own]), Lines([rows_of(root, corpus) for corpus in corpora])
    for corpus, digest in zip(corpora, pool.digests, strict=True):
        if digest != corpus.digest:
            raise CorpusDamaged(f"the corpus {corpus.name!r} is not what was registered")
    report: dict[str, Any] = {
        "format": FORMAT, "share": wanted.share, "own_rows": len(own), "own_bytes": own.size_bytes,
        "corpora": [{"name": one.name, "digest": one.digest, "rows": one.rows} for one in corpora],
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    room_bytes = wanted.room_bytes(own.size_bytes)
    Room(out, DEFAULT.free_bytes).need(room_bytes)
    chosen: list[int] = []
    if min(len(own), len(pool)) < LEAST_ROWS:
        report["left_out"] = f"fewer than {LEAST_ROWS} rows to learn from"
    else:
        judged = _judge(own, pool, wanted.seed)
        chosen, near = _choose(pool, judged.scores, _seen(wanted), room_bytes)
        report |= {"near_duplicates_left_out": near, "classifier": _about(judged, chosen)}
    _write(out / ROWS, pool, chosen)
    size_bytes = sum(pool.bytes_of(number) for number in chosen)
    report |= {"rows": len(chosen), "bytes": size_bytes, "digest": sha256_of(out / ROWS)}
    write_json(out / REPORT, report)
    return report


def _about(judged: _Judged, chosen: Sequence[int]) -> dict[str, Any]:
    return {
        "library": f"scikit-learn {version('scikit-learn')}", "held_out_accuracy": round(judged.accuracy, 4),
        "own_examples": judged.own_examples, "other_examples": judged.other_examples,
        "like_own": int(np.sum(judged.scores > 0)),
        "recalled_like_own": int(np.sum(judged.scores[list(chosen)] > 0)) if chosen else 0,
    }  # fmt: skip


def _judge(own: Lines, pool: Lines, seed: int) -> _Judged:
    draw = random.Random(seed)  # noqa: S311 - a sample, no secret
    positives = _examples(own, range(len(own)), draw)
    scores, accuracies, num_others = np.zeros(len(pool)), list[float](), 0
    for half in (0, 1):
        others = _examples(pool, range(1 - half, len(pool), 2), draw)
        model = Classifier(_learned(positives), _learned(others), seed)
        accuracies.append(balanced_accuracy(model, _kept_back(positives), _kept_back(others)))
        for start in range(half, len(pool), 2 * AT_ONCE):
            end = min(start + 2 * AT_ONCE, len(pool))
            scores[start:end:2] = model.scores(_texts(pool, range(start, end, 2)))
        num_others += len(others)
    return _Judged(scores, sum(accuracies) / 2, len(positives), num_others)


def _examples(lines: Lines, numbers: range, draw: random.Random) -> list[str]:
    return _texts(lines, draw.sample(numbers, min(MOST_EXAMPLES, len(numbers))))


def _texts(lines: Lines, numbers: Sequence[int]) -> list[str]:
    return [row["text"][:TEXT_CHARACTERS] for _, row in lines.take(numbers)]  # no more is judged, and held in memory


def _kept_back(examples: list[str]) -> list[str]:
    return examples[::HELD_OUT]


def _learned(examples: list[str]) -> list[str]:
    return [text for place, text in enumerate(examples) if place % HELD_OUT]


def _seen(wanted: Wanted) -> NearDuplicates:
    """Everything that the tenant has: what is held out must stay unlike what is trained on."""
    seen = NearDuplicates()
    for path in (wanted.own, *wanted.beside):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                seen.is_near(_text_row(json.loads(line)))
    return seen


def _choose(pool: Lines, scores: Scores, seen: NearDuplicates, room_bytes: int) -> tuple[list[int], int]:
    """The rows with the highest scores that fit, by number, and how many near-duplicates were passed over."""
    chosen, left, near = list[int](), room_bytes, 0

    def fitting() -> Iterator[int]:
        for number in np.argsort(-scores, kind="stable").tolist():
            if left < room_bytes * CLOSE_ENOUGH:
                return
            if pool.bytes_of(number) <= left:
                yield number

    for number, row in pool.take(fitting()):
        if seen.is_near(_text_row(row)):
            near += 1
        else:
            chosen.append(number)
            left -= pool.bytes_of(number)
    return sorted(chosen), near


def _text_row(row: dict[str, Any]) -> TextRow:
    return TextRow(row.get("path", ""), row["text"])


def _write(path: Path, pool: Lines, chosen: Sequence[int]) -> None:
    """Each row says of which corpus it is."""
    with whole(path) as file:
        for number, row in pool.take(chosen):
            marked = row | {"replay": pool.digests[pool.file_of(number)]}
            file.write(json.dumps(marked, ensure_ascii=False, separators=(",", ":")) + "\n")
