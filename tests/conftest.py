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

settings.register_profile("long", max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def slot_python() -> Path:
    """The interpreter of the CPU engine slot, with a real vLLM."""
    return ensure_slot(read_lock("cpu"), load().cache_dir).python


@pytest.fixture(scope="session")
def demo_model(slot_python: Path) -> Path:
    """The demo model's directory: real weights of a small pretrained model."""
    return ensure_demo_model(load().cache_dir, slot_python)
