"""Pinned adapters: only those in use, never more than the engines can keep, one last place for one of two at once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.training import pins
from appliance.training.errors import AdapterRefused
from tests.appliance.training.cast import Cast
from tests.appliance.training.racing import at_once

S = AdapterState


def serve(cast: Cast, *flags: str) -> None:
    Deployment.objects.filter(pk=cast.deployment.pk).update(flags=["--enable-lora", *flags])


def pinned() -> set[str]:
    return set(Adapter.objects.filter(pinned=True).values_list("name", flat=True))


@pytest.mark.parametrize("state", sorted(set(S) - {S.ACTIVE}))
def test_only_adapters_in_use_are_pinned(cast: Cast, state: AdapterState) -> None:
    serve(cast, "--max-cpu-loras=2")
    with pytest.raises(AdapterRefused, match="only active"):
        pins.pin(cast.adapter(state))
    assert pinned() == set()


def test_it_leaves_the_places_that_a_batch_may_take(cast: Cast) -> None:
    serve(cast, "--max-loras=2", "--max-cpu-loras=4")
    adapters = [cast.adapter(S.ACTIVE) for _ in range(3)]
    assert [pins.pin(adapter) for adapter in (*adapters[:2], adapters[0])] == [True, True, False]
    with pytest.raises(AdapterRefused, match=f"All 2 places.*{min(one.name for one in adapters[:2])}"):
        pins.pin(adapters[2])
    assert pins.unpin(adapters[0])
    assert not pins.unpin(adapters[0])
    assert pins.pin(adapters[2])
    assert pinned() == {adapters[1].name, adapters[2].name}


def test_an_engine_that_can_keep_none_pins_none(cast: Cast) -> None:
    serve(cast, "--max-loras=4")
    with pytest.raises(AdapterRefused, match="--max-cpu-loras above --max-loras"):
        pins.pin(cast.adapter(S.ACTIVE))


def test_a_base_that_is_not_served_keeps_none(cast: Cast) -> None:
    Deployment.objects.update(running=False)
    with pytest.raises(AdapterRefused, match="is not served"):
        pins.pin(cast.adapter(S.ACTIVE))


def test_a_merged_adapter_needs_no_pin(cast: Cast, tmp_path: Path) -> None:
    serve(cast, "--max-cpu-loras=2")
    (tmp_path / "config.json").write_text(json.dumps({"n_routed_experts": 8, "num_hidden_layers": 2}))
    ModelVersion.objects.update(path=str(tmp_path))
    cast.deployment.slot.flavour = "cpu"
    cast.deployment.slot.save()
    with pytest.raises(AdapterRefused, match="an engine of its own"):
        pins.pin(cast.adapter(S.ACTIVE))


def test_of_two_at_once_one_gets_the_last_place(cast: Cast) -> None:
    serve(cast, "--max-cpu-loras=2")

    def attempt(adapter: Adapter) -> bool:
        try:
            return pins.pin(adapter)
        except AdapterRefused:
            return False

    for _ in range(5):
        two = [cast.adapter(S.ACTIVE) for _ in range(2)]
        assert sorted(at_once(*(partial(attempt, one) for one in two))) == [False, True]
        Adapter.objects.update(pinned=False)
