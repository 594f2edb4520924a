"""vLLM's flags for adapters: what they allow an engine, and an engine's flags without them. Pure functions of the flags."""

_LORA_FLAGS = frozenset(
    {
        *("--enable-lora", "--no-enable-lora", "--max-lora-rank", "--max-loras", "--max-cpu-loras", "--lora-dtype"),
        *("--lora-target-modules", "--fully-sharded-loras", "--no-fully-sharded-loras", "--specialize-active-lora"),
    }
)
_DEFAULT_RANK = 16  # what vLLM takes where --max-lora-rank is not given
_DEFAULT_PLACES = 1  # of --max-loras; --max-cpu-loras is the same where it is not given


def max_adapter_rank(flags: tuple[str, ...]) -> int:
    """The highest rank of an adapter that an engine with these flags takes; 0 when it takes none at all."""
    enabled, rank = False, _DEFAULT_RANK
    for flag, following in zip(flags, (*flags, "")[1:], strict=True):
        name, _, value = flag.replace("_", "-").partition("=")
        if name in ("--enable-lora", "--no-enable-lora"):
            enabled = name == "--enable-lora"
        elif name == "--max-lora-rank" and (value or following).isdigit():
            rank = int(value or following)
    return rank if enabled else 0


def adapted_modules(flags: tuple[str, ...]) -> frozenset[str] | None:
    """The modules, by their last name, that the flags limit adapters to; None when they don't."""
    modules: set[str] = set()
    listing = False
    for flag in flags:
        name, _, value = flag.partition("=")
        if flag.startswith("--"):
            listing = name.replace("_", "-") == "--lora-target-modules"
            modules |= {value} if listing and value else set()
        elif listing:
            modules.add(flag)
    return frozenset(modules) or None


def without_adapters(flags: tuple[str, ...]) -> tuple[str, ...]:
    """The flags of an engine that is to take no adapters."""
    kept: list[str] = []
    dropping = False
    for flag in flags:
        if flag.startswith("-"):  # a short one, too, begins something else; no value of these does
            dropping = flag.partition("=")[0].replace("_", "-") in _LORA_FLAGS
        if not dropping:
            kept.append(flag)
    return tuple(kept)


def pinnable_adapters(flags: tuple[str, ...]) -> int:
    """How many adapters an engine with these flags can keep for good.

    As many places as one batch may take (`--max-loras`) have to stay free: with fewer, vLLM would throw adapters out that the
    batch under way needs, and with none it ends.
    """
    batch = _whole(flags, "--max-loras") or _DEFAULT_PLACES
    places = _whole(flags, "--max-cpu-loras") or batch
    return max(0, places - batch) if max_adapter_rank(flags) else 0


def _whole(flags: tuple[str, ...], wanted: str) -> int | None:
    """The whole number that a flag gives; of one that stands there twice, the engine takes the last."""
    found = None
    for flag, following in zip(flags, (*flags, "")[1:], strict=True):
        name, _, value = flag.partition("=")
        if name.replace("_", "-") == wanted and (value or following).isdigit():
            found = int(value or following)
    return found
