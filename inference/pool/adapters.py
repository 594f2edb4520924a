"""Which adapters one engine has to load and unload next: values in, actions out.

The engine's own list is the truth of what is loaded, the rows are what others rely on: a row never says more than the
engine has, and says it only of what was verified. Applying the actions and deciding again ends with no actions, apart
from what is tried again after a back-off. Verifying, asking the engine and recording are the loader's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.pool.backoff import delay_s
from inference.pool.store import DesiredAdapter


@dataclass(frozen=True)
class Wish:
    """What an engine is to have, on which base weights; `max_rank` 0 when it takes no adapters at all.

    `modules`: the only ones that it applies adapters to, None when it applies them to all.
    """

    base: Path
    max_rank: int
    modules: frozenset[str] | None
    adapters: tuple[DesiredAdapter, ...]


@dataclass(frozen=True)
class Failure:
    """How often in a row an adapter could not be loaded, and when to try again, in monotonic seconds."""

    count: int
    retry_at: float


@dataclass(frozen=True)
class Forget:
    """Take it off the record, so that no request is sent to it."""

    adapter_id: str


@dataclass(frozen=True)
class Unload:
    name: str


@dataclass(frozen=True)
class Load:
    """Verify, load, record."""

    adapter: DesiredAdapter


@dataclass(frozen=True)
class Confirm:
    """The engine has it and no row says so, as after a pool that died in between: verify, record."""

    adapter: DesiredAdapter


Action = Forget | Unload | Load | Confirm


def decide(
    desired: tuple[DesiredAdapter, ...],
    listed: Mapping[str, str],
    recorded: Mapping[str, bool],
    failures: Mapping[DesiredAdapter, Failure],
    now: float,
) -> list[Action]:
    """The next actions, in the order in which they are to be done.

    `listed`: the engine's adapters by name, with the path each was loaded from. `recorded`: by adapter id, whether it is
    on record as loaded or as failed.
    """
    wanted = {adapter.name: adapter for adapter in desired}
    unloads = [Unload(name) for name in listed if not _may_stay(name, wanted, listed, recorded, failures)]
    leaving = {action.name for action in unloads}
    forgets = _stale_rows(wanted, listed, recorded)
    gains: list[Action] = []
    for adapter in wanted.values():
        failure = failures.get(adapter)
        if adapter.name in leaving or (failure is not None and failure.retry_at > now):
            continue
        if adapter.name not in listed:
            gains.append(Load(adapter))
        elif not recorded.get(adapter.id):
            gains.append(Confirm(adapter))
    return [*forgets, *unloads, *gains]


def failed_again(failure: Failure | None, now: float) -> Failure:
    """The failure after one more try."""
    count = 1 if failure is None else failure.count + 1
    return Failure(count, now + delay_s(count))


def next_retry(desired: tuple[DesiredAdapter, ...], failures: Mapping[DesiredAdapter, Failure]) -> float | None:
    """When the first of the failed adapters is due again; None when there is none."""
    return min((failures[adapter].retry_at for adapter in desired if adapter in failures), default=None)


def _may_stay(
    name: str,
    wanted: Mapping[str, DesiredAdapter],
    listed: Mapping[str, str],
    recorded: Mapping[str, bool],
    failures: Mapping[DesiredAdapter, Failure],
) -> bool:
    adapter = wanted.get(name)
    if adapter is None or listed[name] != str(adapter.path):
        return False
    # found loaded, and it did not stand up to verification
    return adapter not in failures or recorded.get(adapter.id, False)


def _stale_rows(
    wanted: Mapping[str, DesiredAdapter], listed: Mapping[str, str], recorded: Mapping[str, bool]
) -> Iterator[Forget]:
    """Rows of adapters that are not wanted, and of those that the engine does not have as they say."""
    by_id = {adapter.id: adapter for adapter in wanted.values()}
    for adapter_id, loaded in recorded.items():
        adapter = by_id.get(adapter_id)
        if adapter is None or (loaded and listed.get(adapter.name) != str(adapter.path)):
            yield Forget(adapter_id)
