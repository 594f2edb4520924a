"""The rules for Prometheus: promtool accepts them, they do what their tests say, and they ask for figures that exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference.gateway.paths import PROCESSES
from tests.django_apps import set_up_django
from tests.figures import figures

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
RULES = sorted(FOLDER.glob("rules/*.yml"))
SEVERITIES = {"critical", "warning", "info"}
NAME = re.compile(r"\bcoderack[_:][a-zA-Z0-9_:]+")
OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


def promtool(*arguments: str, cwd: Path = FOLDER) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [rule for rule in rules() if "alert" in rule]


def test_promtool_accepts_the_configuration_and_every_rule() -> None:
    assert "2 rule files found" in promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", *map(str, RULES))


def test_the_rules_do_what_their_tests_say() -> None:
    assert "SUCCESS" in promtool(
        "test", "rules", *(path.name for path in FOLDER.glob("tests/*.yml")), cwd=FOLDER / "tests"
    )


def test_a_rule_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    text = (FOLDER / "rules" / "alerts.yml").read_text()
    (tmp_path / "rules").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "rules" / "recording.yml").write_text((FOLDER / "rules" / "recording.yml").read_text())
    (tmp_path / "rules" / "alerts.yml").write_text(text.replace('process="gateway"} == 0', 'process="gateway"} == 2'))
    (tmp_path / "tests" / "alerts.yml").write_text((FOLDER / "tests" / "alerts.yml").read_text())
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts.yml"], cwd=tmp_path / "tests", capture_output=True, check=False
    )
    assert done.returncode != 0


def test_every_process_is_scraped_once_under_its_name() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    labels = [target["labels"] for target in job["static_configs"]]
    paths = {label["process"]: label.get("__metrics_path__", "/metrics") for label in labels}
    assert len(labels) == len(paths)
    assert paths == {"gateway": "/metrics"} | {name: f"/metrics/{name}" for name in PROCESSES}


def test_the_rules_ask_for_figures_that_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up_django(monkeypatch, tmp_path)
    known = set(figures()) | {rule["record"] for rule in rules() if "record" in rule}
    known |= {name + end for name in figures() for end in OF_A_HISTOGRAM if name.endswith("_seconds")}
    asked = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    tested = {
        name for path in FOLDER.glob("tests/*.yml") for name in NAME.findall(re.sub(r"{.*?}", "", path.read_text()))
    }
    assert asked - known == set()
    assert tested - known == set()


def test_no_label_of_a_figure_hides_the_one_that_names_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_up_django(monkeypatch, tmp_path)
    assert not [name for name, labels in figures().items() if {"process", "job", "instance"} & set(labels)]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
