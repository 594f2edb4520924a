"""`coderack calibrate-capacity`: what it prints, what the documentation says of it, and files that are no measurements."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from appliance.env import REPO
from inference.capacity import fitted
from inference.capacity.published import calibrating, unseen
from inference.capacity.residuals import left_out, predicted
from ops.cli.calibrate import calibrate_capacity
from ops.cli.printing import Exit

PAGE = (REPO / "docs" / "capacity.md").read_text()
app = typer.Typer()
app.command()(calibrate_capacity)


def calibrate(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})


def test_it_prints_how_well_rows_not_seen_are_predicted() -> None:
    told = calibrate()
    assert told.exit_code == Exit.OK
    assert "left out facts: 10 of 10 cases inside" in told.output
    assert re.search(r"r1-h200-vllm +15,100 \+ 754 ", told.output)
    assert re.search(r"unseen: \d+ of 23 cases inside, intervals no wider than a factor of 3\.\d\d", told.output)


def test_it_answers_scripts_with_all_rows_and_writes_the_calibration(tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    answer = json.loads(calibrate("--json", "--write", str(path)).stdout)
    assert fitted.read(path).logs == pytest.approx(fitted.fitted().logs, abs=1e-5)
    assert answer["counts"]["left_out_facts"]["cases"] == 10
    assert len(answer["rows"]["left_out"]) == len(calibrating())
    assert all(row["ceiling_share"] < 1 for rows in answer["rows"].values() for row in rows)


def test_it_predicts_rows_of_ones_own_and_refuses_what_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    row = {"case": "mine", "source": "made by hand", "model": "deepseek-v3", "hardware": "8xh200", "precision": "fp8"}
    row |= {"engine": "current", "tensor": 8, "input_tokens": 100, "output_tokens": 10, "output_tps": 500}
    path.write_text(yaml.safe_dump([row]))
    answer = json.loads(calibrate("--json", "--rows", str(path)).stdout)
    assert [found["case"] for found in answer["rows"]["unseen"]] == ["mine"]
    path.write_text(yaml.safe_dump([row | {"engine": "none"}]))
    refused = calibrate("--rows", str(path))
    assert (refused.exit_code, refused.stdout) == (Exit.USAGE, "")
    assert "no engine 'none'" in refused.stderr


def test_the_documented_residuals_are_what_it_finds() -> None:
    documented = re.findall(
        r"^\| ([a-z0-9.-]+) \| (?:[^|]+) \| (?:[^|]+) \| ([\d.]+) \| (yes|\*\*no\*\*) \|", PAGE, flags=re.MULTILINE
    )
    found = [*left_out(calibrating()), *predicted(fitted.fitted(), unseen())]
    assert [(case, inside == "yes") for case, _, inside in documented] == [(row.case, row.inside) for row in found]
    assert [float(ratio) for _, ratio, _ in documented] == pytest.approx(
        [row.measured_over_predicted for row in found], abs=0.011
    )


def test_the_documented_figures_are_the_fitted_ones() -> None:
    figures = fitted.fitted().figures
    for name, value in re.findall(r"^\| `([a-z0-9_]+)` \| ×?([\d.]+)(?: µs)? \|", PAGE, flags=re.MULTILINE):
        scale = 1e6 if name == "sequence_s" else 1
        assert float(value) == pytest.approx(figures.pop(name) * scale, rel=0.02)
    assert not figures
