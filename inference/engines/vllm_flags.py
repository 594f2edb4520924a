"""vLLM's flags as its own parser reads them: short names, underscores and cut-off names. Pure functions of the flags.

Only flags that decide something here are known by name; what a cut-off name of another flag means is the engine's matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# vLLM's own short names (0.32).
_SHORT = {
    "-tp": "--tensor-parallel-size",
    "-dp": "--data-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dcp": "--decode-context-parallel-size",
    "-ep": "--enable-expert-parallel",
    "-q": "--quantization",
    "-sc": "--speculative-config",
}
CONTEXT_FLAG = "--max-model-len"
_KNOWN = frozenset(
    {
        CONTEXT_FLAG,
        *_SHORT.values(),
        *("--enable-lora", "--max-lora-rank", "--max-loras", "--max-cpu-loras", "--lora-target-modules"),
        *("--enforce-eager", "--kv-cache-dtype", "--gpu-memory-utilization"),
    }
)


class Flags:
    """An engine's flags by their long names; the last one of a name counts, and `--no-…` takes it back."""

    def __init__(self, flags: Sequence[str]) -> None:
        self._given: dict[str, list[str]] = {}
        for name, values in _named(flags):
            if name.startswith("--no-"):
                self._given.pop(name.replace("--no-", "--", 1), None)
            else:
                self._given[name] = values

    def has(self, name: str) -> bool:
        """Whether it is given, and not taken back."""
        return name in self._given

    def values(self, name: str) -> tuple[str, ...]:
        """All that stands after it."""
        return tuple(self._given.get(name, ()))

    def value(self, name: str) -> str:
        """The same as one text, "" where it is not given."""
        return " ".join(self._given.get(name, ()))


def splits(flags: Sequence[str]) -> bool:
    """Whether they say how an engine spreads over its devices; where they don't, the pool splits tensors over all."""
    given = Flags(flags)
    return given.has("--tensor-parallel-size") or given.has("--data-parallel-size")


def cut_short(flags: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names that vLLM's parser would complete to flags that are known here, each with what it could mean."""
    found = {}
    for flag in flags:
        name = _spelled(flag)
        meant = _meant(name)
        if meant and name not in _KNOWN:
            found[name] = meant
    return found


def _meant(name: str) -> tuple[str, ...]:
    """The known flags that a name begins; a whole one means itself."""
    if name in _SHORT or len(name) < 2 or name[0] != "-" or name[1].isdigit():
        return ()
    if not name.startswith("--"):
        return tuple(long for short, long in _SHORT.items() if short.startswith(name))
    no, bare = ("--no-", name.replace("--no-", "--", 1)) if name.startswith("--no-") else ("--", name)
    if bare in _KNOWN or bare == "--":
        return ()
    return tuple(sorted(known.replace("--", no, 1) for known in _KNOWN if known.startswith(bare)))


def _spelled(flag: str) -> str:
    return flag.partition("=")[0].replace("_", "-")


def _long(flag: str) -> str:
    name = _SHORT.get(_spelled(flag), _spelled(flag))
    meant = _meant(name)
    return meant[0] if len(meant) == 1 else name


def _named(flags: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    name, values = "", list[str]()
    for flag in flags:
        if not flag.startswith("-") or flag[1:2].isdigit():
            values.append(flag)
            continue
        if name:
            yield name, values
        _, equals, value = flag.partition("=")
        name, values = _long(flag), [value] if equals else []
    if name:
        yield name, values
