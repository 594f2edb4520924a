"""Loads and unloads the adapters of one engine as they are wanted, and records what came of it.

Verifying and loading may take seconds: one thread per action does them, so that the keeper, in whose thread everything
else here runs, goes on watching the engine. What to do next is `adapters.decide`'s. A result that the store does not
take is kept and offered again.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inference.engines import EngineKind
from inference.engines.errors import EngineError
from inference.pool import adapter_wish, metrics
from inference.pool.adapter_modules import Limits, check_adapter
from inference.pool.adapters import (
    Action,
    Confirm,
    Failure,
    Forget,
    Load,
    Unload,
    Wish,
    decide,
    failed_again,
    next_retry,
)
from inference.pool.engine_client import EngineClient
from inference.pool.errors import AdapterRefused, EngineUnreachable
from inference.pool.store import DesiredAdapter, Life, Store

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 120.0
_CALL_TIMEOUT_S = 2.0
_LOOK_S = 0.25  # how often an action on its way is looked after, should its end go unheard
_RETRY_S = 1.0
_COMPARE_S = 30.0  # how often rows and engine are compared when nothing was asked for


@dataclass(frozen=True)
class Result:
    """What came of loading an adapter; `reason` is empty when it is loaded and verified."""

    adapter: DesiredAdapter
    reason: str


class AdapterLoader:
    """`want` may be called from any thread, everything else from the keeper's. `wake` is called at an action's end.

    `place` is where the engine's plugin reads what its adapters are.
    """

    def __init__(self, life: Life, kind: EngineKind, store: Store, place: Path, wake: Callable[[], None]) -> None:
        self._life = life
        self._place = place
        self._told: Wish | None = None
        self._kind = kind
        self._store = store
        self._wake = wake
        self._client = EngineClient(life.socket)
        self._wish: Wish | None = None
        self._known: tuple[dict[str, str], dict[str, bool]] | None = None  # the engine's list, the rows
        self._known_until = 0.0
        self._failures: dict[DesiredAdapter, Failure] = {}
        self._thread: threading.Thread | None = None
        self._results: list[Result] = []
        self.is_settled = False  # what is wanted is there, or could not be loaded

    @property
    def is_at_work(self) -> bool:
        """Whether something is being loaded, unloaded or verified."""
        return self._thread is not None and self._thread.is_alive()

    def start_over(self) -> None:
        """Its adapters were unloaded by somebody else: engine and rows are compared before anything is relied on."""
        self._known = None
        self.is_settled = False

    def want(self, wish: Wish) -> None:
        """What the engine is to have from now on; before the first wish nothing is touched."""
        if wish != self._wish:
            self._wish = wish
            self._wake()

    def look(self) -> float:
        """Do what is due; the seconds until something is due again."""
        if self._thread is not None and self._thread.is_alive():
            return _LOOK_S
        self._thread = None
        while self._results:
            self._take(self._results[0])
            self._results.pop(0)
        wish = self._wish
        if wish is None:
            return _COMPARE_S
        if not self._tell(wish):
            return _RETRY_S
        known = self._compare(wish)
        if known is None:
            return _RETRY_S
        now = time.monotonic()
        actions = decide(wish.adapters, *known, self._failures, now)
        self.is_settled = not actions
        if actions:
            self._act(actions[0], wish)
            return 0.0 if self._thread is None else _LOOK_S
        retry_at = next_retry(wish.adapters, self._failures)
        until = self._known_until if retry_at is None else min(retry_at, self._known_until)
        return max(0.05, until - now)

    def _tell(self, wish: Wish) -> bool:
        """Have the engine's plugin know of them first: it loads nothing that it was not told of."""
        if wish != self._told:
            try:
                adapter_wish.tell(self._place, wish)
            except OSError as error:
                log.error("life %s: it can't be told of its adapters: %s", self._life.id, error)
                return False
            self._told = wish
        return True

    def _compare(self, wish: Wish) -> tuple[dict[str, str], dict[str, bool]] | None:
        """The engine's list and the rows; None when the engine does not tell."""
        if self._known is None or time.monotonic() >= self._known_until:
            if not wish.adapters and not wish.max_rank:
                listed = {}  # it has none and is to have none
            else:
                try:
                    listed = self._list()
                except (EngineUnreachable, EngineError) as error:
                    log.warning("life %s: its adapters are not known: %s", self._life.id, error)
                    return None
            self._known = (listed, self._store.adapter_loads(self._life.id))
            self._known_until = time.monotonic() + _COMPARE_S
        return self._known

    def _list(self) -> dict[str, str]:
        answer = self._client.get(self._kind.ADAPTERS_PATH, _CALL_TIMEOUT_S)
        if answer.status != 200:
            raise EngineUnreachable(f"GET {self._kind.ADAPTERS_PATH}: HTTP {answer.status}")
        return self._kind.parse_adapters(answer.json())

    def _act(self, action: Action, wish: Wish) -> None:
        match action:
            case Forget(adapter_id):
                self._store.forget_adapter(self._life.id, adapter_id)
                self._known = None
            case Unload(name):
                self._known = None
                self._begin(lambda: self._unload(name))
            case Load(adapter):
                self._known = None
                self._begin(lambda: self._load(adapter, wish))
            case Confirm(adapter):
                self._known = None
                self._begin(lambda: self._verify(adapter, wish))

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                # The top of one action's thread: what it did is seen when rows and engine are compared again.
                log.exception("life %s: a step with its adapters failed, it will be tried again", self._life.id)
                metrics.FAULTS.labels("adapters").inc()
                time.sleep(_RETRY_S)
            finally:
                self._wake()

        self._thread = threading.Thread(target=run, name=f"adapters-{self._life.id[:8]}", daemon=True)
        self._thread.start()

    def _unload(self, name: str) -> None:
        answer = self._client.post(*self._kind.unload_adapter_request(name), _CALL_TIMEOUT_S)
        if answer.status not in (200, 404):
            raise EngineUnreachable(f"unloading {name}: HTTP {answer.status}: {answer.body[:300]!r}")
        log.info("life %s: unloaded %s", self._life.id, name)

    def _verify(self, adapter: DesiredAdapter, wish: Wish) -> None:
        self._results.append(Result(adapter, self._fault_of(adapter, wish)))

    def _load(self, adapter: DesiredAdapter, wish: Wish) -> None:
        reason = self._fault_of(adapter, wish)
        if not reason:
            reason = self._ask_to_load(adapter)
        self._results.append(Result(adapter, reason))

    def _fault_of(self, adapter: DesiredAdapter, wish: Wish) -> str:
        """Why its files may not be served; empty when they may."""
        try:
            limits = Limits(wish.base, wish.max_rank, self._kind.NEVER_ADAPTED, wish.modules)
            check_adapter(adapter.path, adapter.digest, limits)
        except AdapterRefused as refusal:
            return str(refusal)
        return ""

    def _ask_to_load(self, adapter: DesiredAdapter) -> str:
        try:
            answer = self._client.post(*self._kind.load_adapter_request(adapter.name, adapter.path), LOAD_TIMEOUT_S)
            if answer.status == 200 or self._list().get(adapter.name) == str(adapter.path):
                return ""
        except EngineUnreachable as error:
            return str(error)
        return f"the engine does not load it: HTTP {answer.status}: {answer.body[:500].decode(errors='replace')}"

    def _take(self, result: Result) -> None:
        adapter, reason = result.adapter, result.reason
        self._store.record_adapter(self._life.id, adapter.id, not reason, reason)
        metrics.ADAPTER_LOADS.labels("failed" if reason else "loaded").inc()
        if reason:
            self._failures[adapter] = failed_again(self._failures.get(adapter), time.monotonic())
            log.error("life %s: adapter %s is not loaded: %s", self._life.id, adapter.name, reason)
        else:
            self._failures.pop(adapter, None)
            log.info("life %s: adapter %s is loaded", self._life.id, adapter.name)
