"""The files of an archive or bundle as one repository: what is remembered in the first reading to put them in order later.

Paths and imported names are held in memory, within a bound; an upload that needs more stays in its own order.
"""

from __future__ import annotations

import sys
from array import array

from finetune.data.import_order import Files, in_order
from finetune.data.imports import go, language_of, names_in
from finetune.data.rows import TextRow

FILE_BYTES, NAME_BYTES = 250, 160  # besides the text: what the tables here and in import_order take for each


class Repository:
    """Gathers files in any order; `order` says in which they are written."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._files = Files()

    @property
    def is_too_large(self) -> bool:
        return self._bytes > self._most_bytes

    @property
    def num_files(self) -> int:
        return len(self._files.paths)

    def see(self, row: TextRow, stays: bool) -> None:
        """Any file of the upload. Those that stay are numbered from 0 as they come."""
        directory, _, name = row.path.rpartition("/")
        if self.is_too_large:
            return
        if name == go.MODULE_FILE and (module := go.module_of(row.text)):  # says so even where it doesn't stay
            self._files.modules[module] = min(directory, self._files.modules.get(module, directory))
            self._take(sys.getsizeof(module) + sys.getsizeof(directory) + NAME_BYTES)
        if stays and not self.is_too_large:
            self._add(row)

    def _add(self, row: TextRow) -> None:
        language = language_of(row.path)
        names = names_in(language, row.path, row.text) if language else []
        wanted = array("I", [self._number(language, name) for name in names if language])
        self._files.paths.append(row.path)
        self._files.wanted.extend(wanted)
        self._files.ends.append(len(self._files.wanted))
        self._take(sys.getsizeof(row.path) + FILE_BYTES + 4 * len(wanted))

    def order(self) -> array[int] | None:
        """The files' numbers in the order of rows.jsonl; None where there were too many to remember."""
        return None if self.is_too_large else in_order(self._files)

    def _number(self, language: str, name: str) -> int:
        before = len(self._files.names)
        number = self._files.names.number(language, name)
        if number == before:
            self._bytes += sys.getsizeof(name) + NAME_BYTES
        return number

    def _take(self, num_bytes: int) -> None:
        self._bytes += num_bytes
        if self.is_too_large:
            self._files = Files()
