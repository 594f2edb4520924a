"""The key of the planted secrets: made once, whoever comes first, and read by nobody else."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest
from django.conf import settings

from appliance.training.planted import planted_secret, planted_secret_file
from tests.appliance.training.racing import at_once


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "ENV", dataclasses.replace(settings.ENV, data_dir=tmp_path))
    return tmp_path


def test_the_key_is_made_once_and_stays(data_dir: Path) -> None:
    key = planted_secret()
    assert len(key) == 64
    assert planted_secret() == key
    assert [path.name for path in data_dir.iterdir()] == ["planted_secret"]


def test_only_the_appliance_reads_the_key() -> None:
    assert stat.S_IMODE(planted_secret_file().stat().st_mode) == 0o600


@pytest.mark.usefixtures("database")
def test_of_several_first_calls_all_get_the_same_key(data_dir: Path) -> None:
    for _ in range(10):
        keys = at_once(*[planted_secret] * 6)
        assert len(set(keys)) == 1, keys
        assert [path.name for path in data_dir.iterdir()] == ["planted_secret"]
        (data_dir / "planted_secret").unlink()
