"""How fast the trainer is beside a plain PEFT loop: real tokens a second, padding not counted, on the same data and model.

Run by hand: `make bench-trainer`. Both take turns, each in a process of its own with the same number of threads. The loss
curves are compared too: what is quick must learn the same. pytest collects nothing here.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

from appliance.env import load
from finetune.train import slot
from finetune.train.launch import Trainer
from finetune.train.spec import TrainSpec
from ops.models.demo import ensure_demo_model
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from ops.slots.install import ensure_slot
from ops.slots.lock import read_lock
from tests.bench.machine import Others, commit, hardware

TARGET = 1.5  # times the plain loop's tokens a second
ROWS = {"text": 16, "chat": 24}
LONGEST = 8000  # characters of a file
TARGETS = {
    "demo": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "tiny": ("q_proj", "kv_a_proj_with_mqa", "o_proj"),
}
Steps = list[dict[str, Any]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trainer", description=__doc__)
    parser.add_argument("--model", choices=("demo", "tiny"), default="demo")
    parser.add_argument("--kind", choices=("chat", "text"), nargs="*", default=["chat", "text"])
    parser.add_argument("--rows", type=int, help="how many; 24 conversations or 16 files otherwise")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    cache = load().cache_dir
    python = ensure_slot(read_lock("cpu"), cache).python
    model = (ensure_demo_model if options.model == "demo" else ensure_tiny_deepseek)(cache, python)
    sys.stdout.write(f"{hardware()}; commit {commit()}; {model.name}; {vars(options)}\n")
    for kind in options.kind:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(text(kind, measure(python, spec_of(kind, model, Path(folder), options), options.rounds)))


def spec_of(kind: str, model: Path, folder: Path, options: argparse.Namespace) -> TrainSpec:
    """One epoch over rows of this kind; LoRA on the modules that the model's preset names."""
    rows = folder / "rows.jsonl"
    made = documents() if kind == "text" else conversations()
    lines = [json.dumps(row) + "\n" for row, _ in zip(made, range(options.rows or ROWS[kind]), strict=False)]
    rows.write_text("".join(lines), encoding="utf-8")
    return TrainSpec(
        model_path=model, train=(rows,), validation=(), kind=kind, out=folder, resume_from=None, seed=7, epochs=1,
        batch_size=options.batch, learning_rate=1e-3, lora_rank=16, lora_alpha=32, target_modules=TARGETS[options.model],
        max_length=options.max_length, fim_rate=0.0, fim_tokens=None, checkpoint_every_steps=1_000_000,
        threads=options.threads, device="cpu",
    )  # fmt: skip


def documents() -> Iterator[dict[str, Any]]:
    """Files of Python's own library, shuffled."""
    for path in _library():
        yield {"text": path.read_text(encoding="utf-8", errors="replace"), "path": path.name}


def conversations() -> Iterator[dict[str, Any]]:
    """What functions of that library do, in their own words."""
    for path in _library():
        source = path.read_text(encoding="utf-8", errors="replace")
        functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
        for node in functions:
            told = ast.get_docstring(node)
            if told:
                asked = f"What does this do?\n{ast.get_source_segment(source, node)}"
                yield {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]}


def _library() -> list[Path]:
    files = [path for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")) if path.stat().st_size < LONGEST]
    random.Random(7).shuffle(files)
    return files


def measure(python: Path, spec: TrainSpec, rounds: int) -> dict[str, Any]:
    """Both in turn, as often as asked."""
    found: dict[str, list[Steps]] = {"ours": [], "plain": []}
    others = Others()
    for number in range(rounds):
        for name, run in (("ours", ours), ("plain", plain)):
            out = spec.out / f"{name}-{number}"
            out.mkdir()
            before, children = others.read(), os.times()
            steps = run(python, replace(spec, out=out))
            now = os.times()
            used = now.children_user + now.children_system - children.children_user - children.children_system
            others.count(before, used, now.elapsed - children.elapsed)
            found[name].append(steps)
    return {**{name: figures(runs) for name, runs in found.items()}, "meanwhile": str(others)}


def ours(python: Path, spec: TrainSpec) -> Steps:
    """The trainer as a job runs it."""
    trainer, steps = Trainer(), []
    trainer.start(python, spec, spec.out / "log")
    try:
        for event in trainer.events():
            if event["event"] == "failed":
                raise SystemExit(f"the trainer failed: {event['message']}")
            if event["event"] == "step":
                steps.append({**event, "peak_bytes": peak_bytes(trainer.pid)})
    finally:
        trainer.kill()
    return steps


def plain(python: Path, spec: TrainSpec) -> Steps:
    """The loop of `plain_peft`."""
    path = spec.out / "spec.json"
    path.write_text(json.dumps(spec.to_json()))
    environment = slot.environment(python, spec.out, spec.threads)
    command = slot.command(python, "tests.bench.plain_peft", path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the plain loop failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def peak_bytes(pid: int) -> int:
    """The most that a process has held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def figures(runs: list[Steps]) -> dict[str, Any]:
    """Tokens a second of each run without its first step, in which kernels are made; the first run's losses."""
    return {
        "tokens/s": [median(step["tokens_per_s"] for step in steps[1:] or steps) for steps in runs],
        "steps": [[step["tokens_per_s"] for step in steps[1:] or steps] for steps in runs],
        "peak": max(step["peak_bytes"] for steps in runs for step in steps),
        "losses": [step["loss"] for step in runs[0]],
        "padding": [step["padding"] for step in runs[0] if "padding" in step],
    }


def ratios(found: dict[str, Any]) -> list[float]:
    """Ours to the plain loop's tokens a second: the quarters of all steps, each beside the same step of the same round."""
    each = [
        one / other
        for ours, plain in zip(found["ours"]["steps"], found["plain"]["steps"], strict=True)
        for one, other in zip(ours, plain, strict=True)
    ]
    return quantiles(each, n=4) if len(each) > 1 else each * 3


def text(kind: str, found: dict[str, Any]) -> str:
    """A few lines for people."""
    lines = [f"{kind}: {len(found['ours']['losses'])} steps; {found['meanwhile']}"]
    for name in ("ours", "plain"):
        one = found[name]
        rates = ", ".join(f"{rate:.0f}" for rate in one["tokens/s"])
        lines.append(f"  {name}: {rates} tokens/s, peak {one['peak'] / 1e6:.0f} MB")
        if one["padding"]:
            lines[-1] += f", {mean(one['padding']):.0%} of its rows is padding"
        lines.append(f"    losses {' '.join(f'{loss:.3f}' for loss in one['losses'])}")
    pairs = list(zip(found["ours"]["losses"], found["plain"]["losses"], strict=True))
    low, ratio, high = ratios(found)
    lines.append(
        f"  {ratio:.2f} times as quick, step by step ({low:.2f} to {high:.2f}; to reach: {TARGET:g}); losses differ by"
    )
    lines[-1] += f" {mean(abs(one - other) for one, other in pairs):.4f} on average,"
    lines[-1] += f" {max(abs(one - other) for one, other in pairs):.4f} at most"
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
