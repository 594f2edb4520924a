"""`coderack plan-capacity`: what it prints for people and for scripts, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from appliance.env import REPO
from inference.capacity.drawing import frontier_svg
from inference.capacity.plan import plan
from inference.capacity.question import Question
from ops.cli.capacity import plan_capacity
from ops.cli.printing import Exit

PAGE = (REPO / "docs" / "capacity.md").read_text()
MODELS = {"236B": "deepseek-coder-v2-instruct", "Lite": "deepseek-coder-v2-lite-instruct"}
app = typer.Typer()
app.command()(plan_capacity)


def ask(model: str, hardware: str, precision: str, *more: str) -> Result:
    arguments = ["--model", model, "--hardware", hardware, "--precision", precision, *more]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_it_answers_people_with_a_table_that_says_what_limits() -> None:
    told = ask("deepseek-coder-v2-instruct", "8xH20-96", "fp8")
    assert told.exit_code == Exit.OK
    assert "0% of the input cached, 50 ms a token" in told.output
    assert re.search(
        r"20,000 in \+ 5,000 out +no, unlikely +Needs 56\.1% of the peak, \d+\.\d% is predicted", told.output
    )
    assert re.search(r"assumed engine +current, experts spread", told.output)
    assert "physics ends at" in told.output
    assert re.search(r"profile +h20-96 +serve it with --profile h20-96\.", told.output)
    assert "LMSYS" in told.output
    assert "nothing here was measured" in told.output


def test_it_answers_scripts_with_json() -> None:
    told = ask("deepseek-coder-v2-instruct", "8xH200", "fp8", "--json", "--hit-rate", "0.5", "--tpot-ms", "40")
    answer = json.loads(told.stdout)
    assert (answer["question"]["hit_rate"], answer["question"]["tpot_ms"]) == (0.5, 40)
    pairs = [(row["input_tps"], row["output_tps"]) for row in answer["contract"]]
    assert pairs == [(20_000, 5_000), (20_000, 10_000)]
    for row in answer["contract"]:
        assert isinstance(row["feasible"], bool)
        assert row["required_efficiency"] > 0
        assert row["binding_limit"] in {"compute", "bandwidth", "kv_memory", "communication", "engine"}
    assert answer["prefill"]["tokens_per_s"] == pytest.approx(2 * answer["prefill"]["uncached_tokens_per_s"])


def test_it_says_no_with_the_arithmetic_and_that_is_an_answer() -> None:
    told = ask("deepseek-coder-v2-instruct", "8x910b3", "bf16")
    assert told.exit_code == Exit.OK
    assert "Not possible: 471.5 GB of weights in bf16" in told.output
    assert "The nearest that fits: 8x910b3 in w8a8." in told.output
    assert "input alone" not in told.output


def test_it_warns_where_the_profile_admits_fewer_sequences_than_predicted() -> None:
    told = ask("deepseek-coder-v2-instruct", "8xA100", "bf16", "--tpot-ms", "200", "--input-tokens", "500")
    assert re.search(r"--max-num-seqs admits 32 sequences; the output above counts on \d+", told.output)


def test_it_refuses_what_does_not_exist_one_line_each() -> None:
    told = ask("gpt-2", "8xB200", "fp4")
    assert (told.exit_code, told.stdout) == (Exit.USAGE, "")
    faults = told.stderr.splitlines()
    assert [fault.partition(":")[0] for fault in faults] == [
        "no model 'gpt-2'",
        "no speeds are known for 'b200'",
        "no precision 'fp4'",
    ]


def keys(value: Any, prefix: str = "") -> set[str]:
    """The paths of all fields; elements of a list share theirs."""
    if isinstance(value, list):
        return set().union(*(keys(item, prefix) for item in value))
    if not isinstance(value, dict):
        return {prefix}
    return set().union(*(keys(item, f"{prefix}.{name}" if prefix else name) for name, item in value.items()))


def test_every_field_of_the_json_is_described_and_no_other() -> None:
    told = ask("deepseek-coder-v2-instruct", "8xH20-96", "fp8", "--json")
    section = PAGE.split("## JSON")[1].split("\n## ")[0]
    described = set(re.findall(r"^\| `([a-z_.]+)`", section, flags=re.MULTILINE))
    assert described == keys(json.loads(told.stdout))


def test_the_documented_examples_are_what_it_answers() -> None:
    rows = re.findall(
        r"^\| (236B|Lite) (\w+), (\d+×\S+) \| (\S+) \| (\S+) \| (.+) \| (.+) \|$", PAGE, flags=re.MULTILINE
    )
    assert len(rows) == 8
    for model, precision, box, *rates, first, second in rows:
        answer = plan(Question(MODELS[model], box.replace("×", "x"), precision))
        found = (answer.prefill.tokens_per_s, answer.decode.tokens_per_s)
        for said, rate in zip(rates, found, strict=True):
            assert rate == (0 if said == "–" else pytest.approx(int(said.replace(",", "")), rel=0.01))
        for said, row in zip((first, second), answer.contract, strict=True):
            assert said.partition(":")[0] == row.outlook
            if needs := re.search(r"needs ([\d.]+) %", said):
                assert row.required_efficiency * 100 == pytest.approx(float(needs[1]), rel=0.05)
            if reaches := re.search(r"([\d.]+) of it \(([\d.]+) to ([\d.]+)\)", said):
                within = (row.reached, row.reached_interval.low, row.reached_interval.high)
                assert within == pytest.approx([float(figure) for figure in reaches.groups()], abs=0.01)


def test_the_documented_pictures_are_what_it_draws() -> None:
    for box in ("8xH20-96", "8xH200"):
        drawn = frontier_svg(plan(Question(MODELS["236B"], box, "fp8")))
        name = f"capacity-{box.partition('-')[0].lower()}.svg"
        assert (REPO / "docs" / "images" / name).read_text() == drawn


def test_it_draws_the_frontier(tmp_path: Path) -> None:
    path = tmp_path / "frontier.svg"
    told = ask("deepseek-coder-v2-instruct", "8xH200", "fp8", "--svg", str(path), "--json")
    assert json.loads(told.stdout)["possible"]
    assert path.read_text().startswith("<svg")
    refused = ask("deepseek-coder-v2-instruct", "8xH200", "fp8", "--svg", str(tmp_path / "none" / "frontier.svg"))
    assert (refused.exit_code, refused.stdout) == (Exit.FAILED, "")
    assert "can't be written: No such file" in refused.stderr
