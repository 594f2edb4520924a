"""`coderack bundle import` as far as the registry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.registry.models import ModelVersion
from ops.bundle.build import Wanted, build
from ops.cli.bundles import app
from ops.models import manifest
from tests.ops.bundle.conftest import write_keys, write_model

pytestmark = pytest.mark.usefixtures("db")


def test_an_imported_model_is_registered_once_with_what_its_bundle_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data", "cache", "run"):
        monkeypatch.setenv(f"CODERACK_{name.upper()}_DIR", str(tmp_path / name))
    model = write_model(tmp_path / "model")
    wanted = Wanted(name="tiny-v1", preset="tiny-preset", max_model_len=512, fim=True)
    keys = write_keys(tmp_path / "keys")
    build(tmp_path / "stick", keys, model, wanted, now=datetime.now(UTC), lifetime=timedelta(days=1))
    for arguments in (["--root", str(tmp_path / "keys/root.json")], []):
        done = CliRunner().invoke(app, ["import", str(tmp_path / "stick"), *arguments])
        assert done.exit_code == 0, done.output
    row = ModelVersion.objects.get()
    assert (row.name, row.preset, row.max_model_len, row.fim) == ("tiny-v1", "tiny-preset", 512, True)
    assert row.digest == manifest.read(model).digest
    assert manifest.verify(Path(row.path)) == []
    assert Path(row.path).is_relative_to(tmp_path / "cache/models")
