"""What an engine needs to be told to start, and what its counters say while it runs.

Plain values shared by the engine kinds and the pool; nothing here starts or reads anything.
"""

from dataclasses import dataclass
from pathlib import Path

from inference.devices.info import DeviceInfo
from inference.engines.histogram import NOTHING, Histogram


@dataclass(frozen=True)
class EngineSpec:
    """One engine to be started. `scratch` is short and lives as long as the engine; `home` and `cache` may be long.

    `sleeps`: it is to be able to, where its devices and its kind allow it. `adapters`: the file in which the pool says what
    its adapters are; None where it can't read one.
    """

    slot_python: Path
    model: str
    model_path: Path
    max_model_len: int
    flags: tuple[str, ...]
    devices: tuple[DeviceInfo, ...]
    socket: Path
    home: Path
    cache: Path
    scratch: Path
    shutdown_timeout_s: int
    sleeps: bool = False
    adapters: Path | None = None


@dataclass(frozen=True)
class Counters:
    """An engine's own token counters since it started, and its load at the moment `at` (unix seconds).

    `ttft` has every request's time to first token; `tpot` the mean time of each further token, once for each ended
    request that had any. `single_token_requests` ended with one token at most.
    """

    prompt_tokens: int
    generation_tokens: int
    running: int
    waiting: int
    kv_usage: float
    at: float
    ttft: Histogram = NOTHING
    tpot: Histogram = NOTHING
    single_token_requests: int = 0
