"""One engine's sleep: asked for, looked whether it came, and the same for its waking.

An engine that sleeps has moved its weights into the host's memory and given its devices' memory free; its process stays.
When it may sleep and when it wakes is for others to say.
"""

from __future__ import annotations

import logging
from pathlib import Path

from inference.engines import EngineKind
from inference.engines.errors import EngineError
from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable
from inference.pool.store import Life, Store

log = logging.getLogger(__name__)

SLEEP_TIMEOUT_S = 300.0  # hundreds of gigabytes are copied into pages that are pinned first
_CALL_TIMEOUT_S = 5.0
_UNLOAD_TIMEOUT_S = 30.0
_MEMINFO = Path("/proc/meminfo")
_SPARE_BYTES = 4 << 30  # of the host's memory, for everybody else on it


class Sleep:
    """Calls one engine; from its keeper's thread. Each call may be repeated."""

    def __init__(self, life: Life, kind: EngineKind, store: Store) -> None:
        self._life = life
        self._kind = kind
        self._store = store
        self._client = EngineClient(life.socket)

    def fall_asleep(self) -> bool:
        """Whether it sleeps now. Its adapters are off the record and unloaded before, so that all are verified anew."""
        try:
            if self._is_asleep() is None:
                return False
            self._drop_adapters()
            self._ask(self._kind.sleep_request())
            return self._is_asleep() is True
        except (EngineUnreachable, EngineError) as error:
            log.warning("life %s does not sleep: %s", self._life.id, error)
            return False

    def wake_up(self) -> str:
        """Why it does not wake; empty once it is awake."""
        try:
            self._ask(self._kind.wake_request())
            return "" if self._is_asleep() is False else "it still sleeps"
        except (EngineUnreachable, EngineError) as error:
            return str(error)

    def _is_asleep(self) -> bool | None:
        """None for an engine that can't sleep."""
        answer = self._client.get(self._kind.SLEEPING_PATH, _CALL_TIMEOUT_S)
        return self._kind.parse_sleeping(answer.json()) if answer.status == 200 else None

    def _ask(self, request: tuple[str, dict[str, object]]) -> None:
        answer = self._client.post(*request, SLEEP_TIMEOUT_S)
        if answer.status != 200:
            raise EngineUnreachable(f"POST {request[0]}: HTTP {answer.status}: {answer.body[:300]!r}")

    def _drop_adapters(self) -> None:
        for adapter_id in self._store.adapter_loads(self._life.id):
            self._store.forget_adapter(self._life.id, adapter_id)
        answer = self._client.get(self._kind.ADAPTERS_PATH, _CALL_TIMEOUT_S)
        for name in self._kind.parse_adapters(answer.json()) if answer.status == 200 else {}:
            self._client.post(*self._kind.unload_adapter_request(name), _UNLOAD_TIMEOUT_S)


def host_has_room(model_path: Path, meminfo: Path = _MEMINFO) -> bool:
    """Whether the host's memory takes a model's weights beside everything that it holds already."""
    weights = sum(file.stat().st_size for file in model_path.glob("*.safetensors"))
    for line in meminfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024 >= weights + _SPARE_BYTES
    return False
