"""Pinned adapters: engines keep them at hand, and read others from the disk again instead.

The wish is the adapter's row; the pool hands it on to the engines' own plugin. As many of an engine's places as a batch may
take stay free, so not more are pinned than all of the base's engines can keep.
"""

from __future__ import annotations

from pathlib import Path

from django.db import transaction

from appliance.audit.record import record
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.training.errors import AdapterRefused
from inference.catalog.checkpoint import needs_merging
from inference.engines import engine_kind


def pin(adapter: Adapter) -> bool:
    """Have the engines keep an adapter; False when they do already.

    Raises: AdapterRefused when it is not in use, or no engine has a place to spare for it.
    """
    with transaction.atomic():
        # two at once would both see the last place free
        ModelVersion.objects.select_for_update(no_key=True).get(pk=adapter.base_id)
        adapter.refresh_from_db()
        if adapter.state != AdapterState.ACTIVE:
            raise AdapterRefused(
                f"{adapter.name} is {adapter.get_state_display()}: only active adapters are pinned.", "model"
            )
        if adapter.pinned:
            return False
        others = Adapter.objects.filter(base_id=adapter.base_id, state=AdapterState.ACTIVE, pinned=True)
        _check_places(adapter, [other.name for other in others])
        _set(adapter, True)
    return True


def unpin(adapter: Adapter) -> bool:
    """Let the engines throw an adapter out again; False when they may already."""
    with transaction.atomic():
        adapter = Adapter.objects.select_for_update(of=("self",)).get(pk=adapter.pk)
        if not adapter.pinned:
            return False
        _set(adapter, False)
    return True


def places(base: ModelVersion) -> int | None:
    """How many adapters all running engines of a base can keep; None while it is not served.

    Raises: AdapterRefused where its adapters have engines of their own.
    """
    found = []
    for deployment in Deployment.objects.filter(model=base, running=True).select_related("slot"):
        if needs_merging(deployment.slot.flavour, Path(base.path)):
            raise AdapterRefused(f"An adapter of {base.name} is merged: an engine of its own always has it.", "model")
        found.append(engine_kind("vllm").pinnable_adapters(tuple(deployment.flags)))
    return min(found, default=None)


def _check_places(adapter: Adapter, pinned: list[str]) -> None:
    there = places(adapter.base)
    if there is None:
        raise AdapterRefused(f"{adapter.base.name} is not served: no engine could keep {adapter.name}.", "model")
    if there == 0:
        raise AdapterRefused(
            f"The engines of {adapter.base.name} hold no more adapters than one batch may use, so none can be pinned: "
            "serve the model with --max-cpu-loras above --max-loras.",
            "model",
        )
    if len(pinned) >= there:
        raise AdapterRefused(
            f"All {there} places for pinned adapters of {adapter.base.name} are taken, the others stay free for whatever is "
            f"asked for: unpin one of {', '.join(sorted(pinned))}, or serve the model with a higher --max-cpu-loras.",
            "model",
        )


def _set(adapter: Adapter, pinned: bool) -> None:
    Adapter.objects.filter(pk=adapter.pk).update(pinned=pinned)
    adapter.pinned = pinned
    record("adapter.pin" if pinned else "adapter.unpin", adapter.name, tenant=adapter.tenant_id)
