"""The order of a repository's files: each after those that it imports, else by path.

Files are gone through by path. Before a file come the files that it imports, by path too (then those of whole directories),
and before each of these what it imports; a file that was written or is being gone through is passed over, which is how cycles
end. So the same files have the same order whatever order they were uploaded in, and a file stands before one that it imports
only where both are in a cycle.

A name that may lie anywhere is looked for in the file's own directory, then in each one above it (32 at most), and last in the
whole upload where only one file's path ends so. What is not found, as packages of others, is passed over.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from finetune.data.imports import LANGUAGES, go, language_of

MOST_LEVELS = 32  # directories above a file that are looked in, and parts of a path by which it is found from elsewhere
KEYS = tuple(LANGUAGES)
SEVERAL = -1
FILTER_BYTES = 1 << 22  # of one bit for each ending that a name can mean, by its hash: the endings would take far more


class Names:
    """Imported names, numbered from 0 as they come, the same one of a language once."""

    def __init__(self) -> None:
        self._languages, self._texts = array("B"), list[str]()
        self._numbers: list[dict[str, int]] = [{} for _ in LANGUAGES]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: int) -> tuple[str, str]:
        return KEYS[self._languages[number]], self._texts[number]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return map(self.__getitem__, range(len(self)))

    def number(self, language: str, name: str) -> int:
        of = KEYS.index(language)
        number = self._numbers[of].setdefault(name, len(self))
        if number == len(self):
            self._languages.append(of)
            self._texts.append(name)
        return number


@dataclass
class Files:
    """Files by number: paths, and which of `names` each wants (`wanted` up to its end in `ends`). `modules` are Go's.

    Names are held by language, numbered over all of them.
    """

    paths: list[str] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    wanted: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("I"))
    modules: dict[str, str] = field(default_factory=dict)

    def wanted_by(self, number: int) -> array[int]:
        return self.wanted[self.ends[number - 1] if number else 0 : self.ends[number]]


def in_order(files: Files) -> array[int]:
    """The numbers of all files, in order."""
    by_path = sorted(range(len(files.paths)), key=files.paths.__getitem__)
    lookup = _Lookup(files, by_path)
    found, seen = array("I"), bytearray(lookup.num_nodes)
    for start in range(len(by_path)):
        if not seen[start]:
            seen[start] = 1
            for node in _after_its_imports(start, lookup, seen):
                if node < len(by_path):
                    found.append(by_path[node])
    return found


def _after_its_imports(start: int, lookup: _Lookup, seen: bytearray) -> Iterator[int]:
    """What was not seen of a node's imports and theirs, deepest first, then the node. No recursion: chains are long."""
    stack = [(start, lookup.imports_of(start))]
    while stack:
        node, waiting = stack[-1]
        following = next((other for other in waiting if not seen[other]), None)
        if following is None:
            stack.pop()
            yield node
        else:
            seen[following] = 1
            stack.append((following, lookup.imports_of(following)))


class _Lookup:
    """Finds what names mean. Nodes are files in the order of their paths, then directories that stand for all files in them."""

    def __init__(self, files: Files, by_path: list[int]) -> None:
        self._files, self._by_path = files, by_path
        self._nodes = {files.paths[number]: node for node, number in enumerate(by_path)}
        self._members: list[array[int]] = []
        for node, number in enumerate(by_path):
            self._enter(files.paths[number], node)
        self._elsewhere = self._endings()

    @property
    def num_nodes(self) -> int:
        return len(self._by_path) + len(self._members)

    def imports_of(self, node: int) -> Iterator[int]:
        """The nodes that a node imports, by path."""
        if node >= len(self._by_path):
            return iter(self._members[node - len(self._by_path)])
        number = self._by_path[node]
        path = self._files.paths[number]
        targets = {self._target(path, *self._files.names[name]) for name in self._files.wanted_by(number)}
        return iter(sorted(target for target in targets if target is not None))

    def _enter(self, path: str, node: int) -> None:
        language = language_of(path)
        if language is None or not LANGUAGES[language].by_directory or path.endswith(go.TEST):
            return
        directory = path.rpartition("/")[0] + "/"
        if directory not in self._nodes:
            self._nodes[directory] = self.num_nodes
            self._members.append(array("I"))
        self._members[self._nodes[directory] - len(self._by_path)].append(node)

    def _endings(self) -> dict[str, int]:
        """Of the endings of paths that some name can mean: the one node that has it, or that there are several.

        A few that none can mean may be among them, other ones in each process: nobody asks for these.
        """
        found: dict[str, int] = {}
        names = ((language, name) for language, name in self._files.names if not name.startswith("/"))
        wanted = {
            other for language, name in names for group in LANGUAGES[language].candidates(name) for other in group
        }
        for path, node in self._nodes.items():
            for ending in _endings_of(path):
                if ending in wanted:
                    found[ending] = SEVERAL if ending in found else node
        return found

    def _target(self, path: str, language: str, name: str) -> int | None:
        if language == "go":
            name = self._in_module(name)
        groups = LANGUAGES[language].candidates(name)
        if name.startswith("/"):
            found = (self._nodes.get(other[1:]) for group in groups for other in group)
            return next((node for node in found if node is not None), None)
        for group in groups:
            if (node := self._near(path, group)) is not None or (node := self._only(language, group)) is not None:
                return node
        return None

    def _near(self, path: str, group: tuple[str, ...]) -> int | None:
        """In the nearest directory at or above the file that has one of the candidates."""
        group = tuple(other for other in group if other in self._elsewhere)  # nothing ends so: nothing is so
        if not group:
            return None
        for directory in _directories_of(path):
            for other in group:
                if (node := self._nodes.get(directory + other)) is not None:
                    return node
        return None

    def _only(self, language: str, group: tuple[str, ...]) -> int | None:
        for other in group:
            if "/" in other.rstrip("/") or LANGUAGES[language].bare_elsewhere:
                node = self._elsewhere.get(other, SEVERAL)
                if node != SEVERAL:
                    return node
        return None

    def _in_module(self, name: str) -> str:
        """An import of Go as a path from the top, where a go.mod says so; the longest module's name counts."""
        module = name
        while module and module not in self._files.modules:
            module = module.rpartition("/")[0]
        if not module:
            return name
        parts = (self._files.modules[module], name[len(module) :].strip("/"))
        return "/" + "/".join(part for part in parts if part)


def _directories_of(path: str) -> Iterator[str]:
    """The directory of a path and those above it, each with its slash; the top last."""
    for _ in range(MOST_LEVELS):
        path = path[: path.rfind("/", 0, -1) + 1] if path.endswith("/") else path[: path.rfind("/") + 1]
        yield path
        if not path:
            return


def _endings_of(path: str) -> Iterator[str]:
    """What a path ends with, part by part, the whole of it last."""
    place = len(path) - 1 if path.endswith("/") else len(path)
    for _ in range(MOST_LEVELS):
        place = path.rfind("/", 0, place)
        yield path[place + 1 :]
        if place < 0:
            return
