"""The kinds of inference engine the pool can run.

A kind is one module that implements `EngineKind`, named in one line of `ENGINES`. It only turns values into values:
command lines, environments, request bodies, counters. Starting, watching and stopping belong to inference/pool.
"""

from pathlib import Path
from typing import Any, Protocol

from inference.engines import vllm
from inference.engines.errors import UnknownEngineKind
from inference.engines.spec import Counters, EngineSpec

__all__ = ["ENGINES", "Counters", "EngineKind", "EngineSpec", "engine_kind"]

JsonRequest = tuple[str, dict[str, Any]]


class EngineKind(Protocol):
    """What the pool asks of a kind of engine. Modules implement it."""

    HEALTH_PATH: str
    METRICS_PATH: str
    ADAPTERS_PATH: str
    SLEEPING_PATH: str  # answers anything but 200 where it can't sleep
    NEVER_ADAPTED: frozenset[str]  # modules, by their last name, whose adapters it would leave out silently

    def command(self, spec: EngineSpec) -> list[str]: ...

    def environment(self, spec: EngineSpec) -> dict[str, str]: ...

    def parse_counters(self, text: str, at: float) -> Counters: ...

    def canary_request(self, model: str) -> JsonRequest:
        """Path and body of the shortest completion the engine can give."""
        ...

    def abort_request(self, request_id: str) -> JsonRequest:
        """Path and body that end that completion, known by the id it was sent with."""
        ...

    def max_adapter_rank(self, flags: tuple[str, ...]) -> int:
        """The highest rank of an adapter that an engine with these flags takes; 0 when it takes none."""
        ...

    def adapted_modules(self, flags: tuple[str, ...]) -> frozenset[str] | None:
        """The modules, by their last name, that the flags limit adapters to; None when they don't."""
        ...

    def pinnable_adapters(self, flags: tuple[str, ...]) -> int:
        """How many adapters an engine with these flags can keep for good, with room for any batch of others."""
        ...

    def memory_share(self, flags: tuple[str, ...]) -> float:
        """The share of each device's memory that an engine with these flags takes at its start."""
        ...

    def load_adapter_request(self, name: str, path: Path) -> JsonRequest: ...

    def unload_adapter_request(self, name: str) -> JsonRequest: ...

    def sleep_request(self) -> JsonRequest:
        """Path and body that move its weights into the host's memory, once its requests have ended."""
        ...

    def wake_request(self) -> JsonRequest: ...

    def parse_sleeping(self, told: dict[str, Any]) -> bool | None:
        """What `SLEEPING_PATH` answered; None when that says nothing."""
        ...

    def parse_adapters(self, listed: dict[str, Any]) -> dict[str, str]:
        """What `ADAPTERS_PATH` answered as the adapters' names and the paths they were loaded from."""
        ...


ENGINES: dict[str, EngineKind] = {
    "vllm": vllm,
}


def engine_kind(name: str) -> EngineKind:
    """The module for a kind's name. Raises: UnknownEngineKind."""
    if name not in ENGINES:
        raise UnknownEngineKind(f"engine kind {name!r} is not known; it is one of: {', '.join(ENGINES)}")
    return ENGINES[name]
