"""The first reading of an upload: which rows stay. Rows are not stored anywhere; later readings count along and skip the rest.

That way no copy of uncleaned data ever lies on a disk, and memory holds a row's digest and sketch only.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress

from finetune.data.clusters import Clusters
from finetune.data.duplicates import ExactDuplicates, NearDuplicates
from finetune.data.errors import MAX_FAULTS, DatasetRefused
from finetune.data.limits import DEFAULT, Limits
from finetune.data.repository import Repository
from finetune.data.rows import ChatRow, Row, Skipped, TextRow
from finetune.data.tally import Tally

Item = Row | Skipped | str


@dataclass
class Survey:
    """What was read and what stays of it; `kept` has one flag for each row in reading order.

    Rows that stay have numbers from 0, in reading order too; `clusters` and `repository` have them by these.
    """

    kept: bytearray = field(default_factory=bytearray)
    clusters: Clusters = field(default_factory=Clusters)
    repository: Repository = field(default_factory=lambda: Repository(DEFAULT.order_bytes))
    tally: Tally = field(default_factory=Tally)
    skipped: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    num_exact: int = 0
    num_near: int = 0
    num_ignored_fields: int = 0

    @property
    def num_kept(self) -> int:
        return sum(self.kept)

    def order(self) -> array[int] | None:
        """The numbers of source files in the order in which they are to be written; None for that of the upload."""
        return self.repository.order() if self.repository.num_files == self.num_kept else None


def survey(items: Iterable[Item], limits: Limits = DEFAULT, tally: Tally | None = None) -> Iterator[Survey]:
    """Read everything once, yielding the growing survey after every row. `tally` knows the upload's licence files.

    Raises: DatasetRefused with up to 100 faults, or when nothing would be left.
    """
    found, faults = Survey(repository=Repository(limits.order_bytes), tally=tally or Tally()), list[str]()
    exact, near = ExactDuplicates(), NearDuplicates()
    for item in items:
        if isinstance(item, str):
            faults.append(item)
            if len(faults) == MAX_FAULTS:
                break
        elif isinstance(item, Skipped):
            found.skipped[item.reason] += 1
        elif not faults:
            stays = _stays(item, found, exact, near)
            found.kept.append(stays)
            if isinstance(item, TextRow):
                found.repository.see(item, stays)
                found.tally.count(stays)
            yield found
    if faults:
        raise DatasetRefused(faults)
    if not found.num_kept:
        raise DatasetRefused([_nothing_left(found)])
    yield found


def kept_rows(items: Iterable[Item], found: Survey) -> Iterator[Row]:
    """The rows that stay, in another reading of the same upload."""
    rows = (item for item in items if isinstance(item, ChatRow | TextRow))
    return compress(rows, found.kept)


def _stays(row: Row, found: Survey, exact: ExactDuplicates, near: NearDuplicates) -> bool:
    if isinstance(row, ChatRow):
        found.num_ignored_fields += row.num_ignored_fields
    elif dropped := found.tally.judge(row):
        found.dropped[dropped.filter, dropped.reason] += 1
        return False
    if exact.is_repeated(row):
        found.num_exact += 1
        return False
    # Pairs are often alike on purpose (one question asked in many ways), files hardly ever.
    if isinstance(row, ChatRow):
        _join(near.alike(row), found)
        return True
    if near.is_near(row):
        found.num_near += 1
        return False
    found.clusters.add()
    return True


def _join(alike: list[int], found: Survey) -> None:
    """A row that stays becomes one of the cluster of rows like it, or its own."""
    found.num_near += bool(alike)
    number = found.clusters.add()
    for other in alike:
        found.clusters.join(number, other)


def _nothing_left(found: Survey) -> str:
    reasons = [f"{count} x {reason}" for (_, reason), count in found.dropped.most_common(5)]
    reasons += [f"{count} x {reason}" for reason, count in found.skipped.most_common(5)]
    return "the file holds no row to train on" + (f"; left out: {', '.join(reasons)}" if reasons else "")
