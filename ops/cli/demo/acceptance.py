"""What a box should reach, and what this one does: the planner's answer, a signed minute, its certificate tampered with.

The target is small: the demo model on a CPU's few cores has to meet it with a wide margin. What the run shows is that it is
measured, accounted for and signed as it is on a server.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ops.cli.demo.walk import Shown, StepFailed, Walk

CONTRACT_MODEL = "deepseek-coder-v2-instruct"
BOXES = (("8xH20-96", "bf16", False), ("8xH200", "fp8", True))
INPUT_TPS, OUTPUT_TPS = 6.0, 1.5
LOAD = {"--duration": "60s", "--warm-up": "3s", "--concurrency": "2", "--input-tokens": "96", "--output-tokens": "24"}
FILES = ("certificate.json", "certificate.html")


def plan_the_contract(walk: Walk) -> Shown:
    """Whether the contract's 20,000 tokens in and 5,000 out a second are within reach of two boxes, and what binds."""
    measured: dict[str, Any] = {}
    for hardware, precision, expected in BOXES:
        answer = walk.cli_json(
            "plan-capacity", "--model", CONTRACT_MODEL, "--hardware", hardware, "--precision", precision
        )
        row = answer["contract"][0]
        if (row["input_tps"], row["output_tps"], row["feasible"]) != (20000, 5000, expected):
            raise StepFailed(f"{hardware} in {precision} is planned as {row}")
        measured[f"{hardware} {precision}"] = {
            "feasible": row["feasible"],
            "required_efficiency": row["required_efficiency"],
            "binds": row["binding_limit"],
        }
    return Shown(CONTRACT_MODEL, measured)


def run_an_acceptance(walk: Walk) -> Shown:
    """A minute of steady load through the gateway, measured against a small target, the ledger and the engines' counters."""
    options = [part for option in LOAD.items() for part in option]
    facts = walk.cli_json(
        "acceptance", "run", "--model", walk.model, "--input-tps", str(INPUT_TPS), "--output-tps", str(OUTPUT_TPS), *options
    )  # fmt: skip
    walk.acceptance = facts["folder"]
    figures, books = facts["measured"], facts["evidence"]
    measured = {
        "verdict": facts["verdict"],
        "window_s": figures["window_s"],
        "input_tps": figures["input_tps"],
        "output_tps": figures["output_tps"],
        "ttft_p99_ms": figures["ttft"]["p99_ms"],
        "tpot_p99_ms": figures["tpot"]["p99_ms"],
        "requests": figures["requests"],
        "failed_requests": figures["failed_requests"],
        "prompt_tokens": figures["prompt_tokens"],
        "completion_tokens": figures["completion_tokens"],
    }
    return Shown(json.dumps(LOAD), measured, {"run": facts["id"], "key": books["key_id"], "model": walk.model})


def verify_a_certificate(walk: Walk) -> Shown:
    """The certificate verifies with the box's public key, given as another machine would get it."""
    public = _folder(walk, "acceptance-key") / "public.pem"
    public.write_text(walk.cli("acceptance", "key"))
    told = walk.cli_json("acceptance", "verify", walk.acceptance, "--key", str(public))
    if not told["ok"] or told["verdict"] != "met":
        raise StepFailed(f"verified as {told}")
    return Shown(
        walk.acceptance, {"ok": told["ok"], "signed_by": told["key"]}, {"run": told["id"], "public": str(public)}
    )


def refuse_a_tampered_certificate(walk: Walk) -> Shown:
    """One figure changed in the JSON, one in the page: each is refused, and the changed file is named."""
    copies: dict[str, str] = {}
    measured: dict[str, Any] = {}
    for name in FILES:
        copy = _folder(walk, f"tampered-{name}")
        shutil.copytree(walk.acceptance, copy, dirs_exist_ok=True)
        _raise_a_figure(copy / name)
        done = walk.try_cli("acceptance", "verify", str(copy / name))
        if done.returncode != 1 or not done.stderr.startswith(f"{name}: was changed"):
            raise StepFailed(f"a changed {name} ended with {done.returncode}: {done.stderr.strip()}")
        copies[name] = str(copy)
        measured[name] = done.stderr.strip()
    return Shown("output_tps", measured, {"copies": copies, "run": Path(walk.acceptance).name})


def _folder(walk: Walk, name: str) -> Path:
    path = walk.env.data_dir / "demo" / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)
    return path


def _raise_a_figure(path: Path) -> None:
    """Ten times the output that was measured."""
    text = path.read_text(encoding="utf-8")
    marks = {".json": '"output_tps":', ".html": 'data-fact="measured.output_tps">'}
    before, mark, after = text.rpartition(marks[path.suffix])
    if not mark:
        raise StepFailed(f"{path} has no measured output")
    path.write_text(f"{before}{mark}9{after}", encoding="utf-8")
