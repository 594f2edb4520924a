"""Fixtures for the whole suite: the engine slot and the demo model, installed once into the shared cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from appliance.env import load
from ops.models.demo import ensure_demo_model
from ops.slots.install import ensure_slot
from ops.slots.lock import read_lock
from tests.schedule import APPLIANCE, ENGINES, place

INSTALLED_S = 900  # for the first test that needs the engine slot, which is installed within its time
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.register_profile("default", deadline=None)  # machines are shared: a slow example is no fault
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile(PROFILE)
os.environ.pop("COLUMNS", None)  # of the terminal, or of a worker without one: tables are as wide as each test says


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the long tests outside `make test-long`; say which tests belong together, and in which order they come."""
    turns: dict[pytest.Item, int] = {}
    for item in items:
        if PROFILE != "long" and item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes many minutes more: make test-long"))
        turns[item], group = place(item.nodeid.partition("::")[0], {mark.name for mark in item.iter_markers()})
        item.add_marker(pytest.mark.xdist_group(group))
        if group in {APPLIANCE, ENGINES} and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(INSTALLED_S))
    items.sort(key=lambda item: turns[item])


@pytest.fixture(scope="session")
def slot_python() -> Path:
    """The interpreter of the CPU engine slot, with a real vLLM."""
    return ensure_slot(read_lock("cpu"), load().cache_dir).python


@pytest.fixture(scope="session")
def demo_model(slot_python: Path) -> Path:
    """The demo model's directory: real weights of a small pretrained model."""
    return ensure_demo_model(load().cache_dir, slot_python)
