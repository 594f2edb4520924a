"""The demo and its checker, where no appliance has to run: they agree on steps and planted values without sharing code."""

from __future__ import annotations

import ast
import io
import json
import stat
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from ops.cli.demo import private_data
from ops.cli.demo.cast import NORTH, PEOPLE, SOUTH
from ops.cli.demo.report import Done, Report, html
from ops.cli.demo.run import STEPS
from ops.cli.demo_check import evidence
from ops.cli.demo_check.claims import CLAIMS, faults_of
from ops.cli.demo_check.evidence import Evidence, manifest_faults, planted_in, sha256
from ops.models import manifest

CHECKER = Path(evidence.__file__).parent
DONE = Done("a_step", "A <b>step</b>", 5, "0" * 64, {"says": "<script>alert(1)</script>"}, {"ids": ["x"]})


def test_the_checker_has_a_claim_for_every_step_and_no_other() -> None:
    assert [step.action.__name__ for step in STEPS] == list(CLAIMS)


def test_the_checkers_own_list_is_what_the_demo_plants() -> None:
    assert sorted(evidence.PLANTED) == sorted(private_data.PLANTED.values())
    assert (evidence.NORTH, evidence.SOUTH, evidence.PEOPLE) == (NORTH, SOUTH, PEOPLE)


def test_every_planted_value_is_in_an_upload_and_in_no_source_file() -> None:
    upload = private_data.north_training().decode()
    assert not [name for name, value in private_data.PLANTED.items() if value not in upload]
    assert not list(planted_in(Path(private_data.__file__).parent))
    assert not list(planted_in(CHECKER))


def test_the_checker_shares_no_code_with_the_demo_and_no_models() -> None:
    for path in CHECKER.glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        ours = {
            name for name in names if name.partition(".")[0] in {"appliance", "inference", "finetune", "ops", "django"}
        }
        allowed = {name for name in ours if name.startswith("ops.cli.demo_check")} | {
            "appliance.env",
            "ops.cli.printing",
        }
        assert ours <= allowed, path.name


def test_the_uploads_hold_what_the_counts_say() -> None:
    lines = private_data.north_training().splitlines()
    assert sum(count - 1 for count in Counter(lines).values()) == private_data.NUM_DUPLICATES
    with tarfile.open(fileobj=io.BytesIO(private_data.archive())) as tar:
        assert len(tar.getnames()) == private_data.NUM_SOURCES
    with tarfile.open(fileobj=io.BytesIO(private_data.escaping_archive())) as tar:
        assert any(name.startswith("../") for name in tar.getnames())
    third = json.loads(private_data.malformed().splitlines()[2])
    assert not isinstance(third[private_data.ANSWER], str)


def test_no_question_gives_its_answer_away() -> None:
    for question, other, answer, word in private_data.FACTS_NORTH + private_data.FACTS_SOUTH:
        assert word in answer
        if word != "paper":
            assert word.lower() not in (question + other).lower()


def test_the_report_is_on_the_disk_after_each_step_and_private(tmp_path: Path) -> None:
    report = Report(tmp_path / "demo", "http://127.0.0.1:8080/v1")
    report.begin()
    assert json.loads(report.path.read_text())["verdict"] == "running"
    report.add(DONE)
    kept = json.loads(report.path.read_text())
    assert [step["name"] for step in kept["steps"]] == ["a_step"]
    assert stat.S_IMODE(report.path.stat().st_mode) == 0o600
    assert not (tmp_path / "demo" / "report.html").exists()
    report.end("failed", {"step": "x", "reason": "<i>"})
    assert json.loads(report.path.read_text())["failure"]["reason"] == "<i>"
    assert (tmp_path / "demo" / "report.html").exists()


def test_the_page_escapes_what_models_and_tenants_write(tmp_path: Path) -> None:
    report = Report(tmp_path, "http://127.0.0.1:8080/v1", steps=[DONE], failure={"step": "<u>", "reason": "<i>"})
    page = html(report.facts())
    for raw in ("<script>", "<b>", "<u>", "<i>"):
        assert raw not in page
    assert "&lt;script&gt;" in page
    assert "://" not in page.replace("http://127.0.0.1:8080/v1", ""), "the page needs nothing from outside"


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"format": 1, "verdict": "running", "failure": None, "steps": []},
        {"format": 1, "verdict": "passed", "failure": {"step": "x"}, "steps": []},
        {"format": 1, "verdict": "passed", "failure": None, "steps": []},
        {"format": 1, "verdict": "passed", "failure": None, "steps": [{"name": "stream_a_chat"}]},
        {"format": 2, "verdict": "passed", "failure": None, "steps": [{"name": name} for name in CLAIMS]},
    ],
)
def test_a_report_that_is_not_of_a_whole_walk_is_refused(report: dict[str, object], tmp_path: Path) -> None:
    asked: list[object] = []
    assert len(faults_of(report, Evidence(asked, tmp_path))) == 1  # type: ignore[arg-type] - the database is not asked


def test_it_sees_a_folder_that_is_not_what_its_manifest_says(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    digest = manifest.write(tmp_path, name="a", origin="test", licence="none").digest
    assert list(manifest_faults(tmp_path, digest)) == []
    assert list(manifest_faults(tmp_path, "0" * 64)) != []
    (tmp_path / "a.json").write_text("[]")
    assert list(manifest_faults(tmp_path, digest)) == ["a.json was changed"]
    (tmp_path / "b.json").write_text("[]")
    assert any("b.json" in fault for fault in manifest_faults(tmp_path, digest))
    assert sha256(tmp_path / "absent") == "absent"
