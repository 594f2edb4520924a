"""The last reading of an upload: rows are cleaned and written, in the order of the upload or in that of its imports."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from finetune.data import json_syntax
from finetune.data.by_file import ByFile
from finetune.data.clusters import CleanedRows
from finetune.data.desensitize.cleaner import Cleaned, Cleaner
from finetune.data.errors import DatasetRefused
from finetune.data.files import whole
from finetune.data.limits import Limits
from finetune.data.python_syntax import was_broken
from finetune.data.room import Room
from finetune.data.rows import Row, TextRow, line_of
from finetune.data.samples import Samples
from finetune.data.shelf import Shelf
from finetune.data.survey import Survey


@dataclass
class Written:
    """What became of the rows. `ordered` says whether they stand in the order of their imports."""

    cleaned: CleanedRows
    left_out: Counter[str] = field(default_factory=Counter)
    samples: Samples = field(default_factory=Samples)
    by_file: ByFile = field(default_factory=ByFile)
    ordered: bool = False


def write(
    rows: Iterable[tuple[int, Row]],
    found: Survey,
    cleaner: Cleaner,
    limits: Limits,
    room: Room,
    path: Path,
    scratch: Path,
) -> Written:
    """Write the rows, by number, to `path`; `scratch` is a folder for what is not yet in order.

    Raises: DatasetRefused; NoRoom.
    """
    written = Written(CleanedRows(found.clusters))
    order = found.order()
    lines = ((number, _checked_line(number, row, found, cleaner, limits, written)) for number, row in rows)
    with whole(path) as file:
        if order is None:
            for _, line in lines:
                file.write(line)
                room.took(len(line))
        else:
            with Shelf(scratch / "lines", found.num_kept) as shelf:
                for number, line in lines:
                    shelf.put(number, line)
                    room.took(len(line))
                room.need(shelf.size_bytes)
                file.writelines(shelf.take(order))
            _move(written, order)
        if not len(written.cleaned):
            raise DatasetRefused(["no row could be cleaned safely; take the secrets out of the files yourself"])
    return written


def refuse_too_many(cleaner: Cleaner, limits: Limits) -> None:
    """Each value is remembered, to have the same name everywhere: a table of addresses would fill the memory."""
    if cleaner.num_values > limits.values:
        raise DatasetRefused(
            [f"more than {limits.values} secrets and personal data: it is data rather than code; split it"]
        )


def _move(written: Written, order: array[int]) -> None:
    """Everything that knows rows by their place, after they were put in order."""
    written.ordered = True
    written.samples.move(written.cleaned.move(order))


def _checked_line(number: int, row: Row, found: Survey, cleaner: Cleaner, limits: Limits, written: Written) -> str:
    line = _cleaned_line(number, row, cleaner, written)
    if not line:
        found.tally.lose(number)
    refuse_too_many(cleaner, limits)
    return line


def _cleaned_line(number: int, row: Row, cleaner: Cleaner, written: Written) -> str:
    """The row's line; empty where it can't be written."""
    if number in cleaner.unclean:
        written.left_out["it holds a secret that could not be located"] += 1
        return ""
    texts = [cleaner.clean(number, text) for text in row.texts()]
    cleaned = row.with_texts([text.text for text in texts])
    if isinstance(row, TextRow) and isinstance(cleaned, TextRow) and was_broken(row, cleaned):
        written.left_out["it is Python that did not parse any more after cleaning"] += 1
        return ""
    if isinstance(row, TextRow) and isinstance(cleaned, TextRow):
        if (whole_row := json_syntax.mended(row, cleaned)) is None:
            written.left_out["it is JSON that did not parse any more after cleaning"] += 1
            return ""
        cleaned = whole_row
    written.cleaned.see(number, cleaned)
    _sample(written, row, texts)
    return line_of(cleaned)


def _sample(written: Written, row: Row, texts: list[Cleaned]) -> None:
    number = len(written.cleaned)
    for text in texts[:1] if isinstance(row, TextRow) else texts:
        written.samples.see(number, text)
    if isinstance(row, TextRow):
        written.samples.see_replaced(number, texts[1])  # a path alone is no excerpt worth reading
        written.by_file.see(texts[1].text, (*texts[0].spans, *texts[1].spans))
