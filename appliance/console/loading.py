"""In how many engines an adapter is loaded, of those that serve its base."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from appliance.fleet.merged import bases_that_merge, standing
from appliance.fleet.models import AdapterLoad, Replica
from appliance.registry.models import LOADED_STATES, Adapter

TAKES_ADAPTERS = ("ready", "warming")


@dataclass(frozen=True)
class Loading:
    """`engines` serve the base now, `loaded` of them have the adapter; `faults` are the others' reasons.

    `expected` is False for an adapter that no engine should have.
    """

    loaded: int
    engines: int
    expected: bool
    faults: tuple[str, ...]


def loadings(adapters: Iterable[Adapter]) -> dict[UUID, Loading]:
    """For each adapter."""
    known = list(adapters)
    apart = bases_that_merge()
    lives = _lives({adapter.base_id for adapter in known})
    every = {life for of_base in lives.values() for life in of_base}
    loads: dict[UUID, list[AdapterLoad]] = defaultdict(list)
    for load in AdapterLoad.objects.filter(adapter__in=[adapter.pk for adapter in known], life_id__in=every):
        loads[load.adapter_id].append(load)
    return {
        adapter.pk: (_merged(adapter) if adapter.base_id in apart else None)
        or Loading(
            loaded=sum(load.loaded for load in loads[adapter.pk]),
            engines=len(lives[adapter.base_id]),
            expected=adapter.state in LOADED_STATES,
            faults=tuple(sorted({load.reason for load in loads[adapter.pk] if not load.loaded and load.reason})),
        )
        for adapter in known
    }


def _merged(adapter: Adapter) -> Loading | None:
    """Of an adapter that one engine serves as a merged model."""
    how = standing(adapter)
    return None if how is None else Loading(int(how.served), 1, True, () if how.served else (how.reason,))


def _lives(bases: set[int]) -> dict[int, list[UUID]]:
    """The engines that serve each base now."""
    rows = Replica.objects.filter(
        deployment__model__in=bases, deployment__running=True, state__in=TAKES_ADAPTERS, life__isnull=False
    )
    lives: dict[int, list[UUID]] = defaultdict(list)
    for base, life in rows.values_list("deployment__model_id", "life_id"):
        if life is not None:
            lives[base].append(life)
    return lives
