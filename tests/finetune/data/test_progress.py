"""What is told while an upload is prepared, and how much memory that takes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits
from finetune.data.prepare import prepare
from finetune.data.progress import STAGES, Meter
from finetune.data.rows import Skipped, TextRow
from tests.finetune.data.archives import code, tar_gz

# Above what the interpreter, numpy and the scanner take by themselves; holding this tree once more would break it.
MOST_BYTES = 400 * 2**20
PEAK = """
import sys
from finetune.data.__main__ import main
code = main()
# not getrusage's figure: that is at least what the parent of this process held
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
sys.exit(code)
"""


def test_each_stage_is_told_with_its_rows_and_characters(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    path = tar_gz(tmp_path / "x", {"a.py": code("a"), "b.py": code("b"), "same.py": code("a"), "p.png": b"\0"})
    prepare(path, "x.tar.gz", tmp_path / "out", b"s", progress=lambda *one: told.append(one))
    sizes = [len(code(name)) + len("a.py") for name in ("a", "b")]
    assert told == [
        ("reading", 3, sum(sizes) + len(code("a")) + len("same.py")),
        ("scanning", 2, sum(sizes)),
        ("writing", 2, sum(sizes)),
    ]
    assert tuple(stage for stage, _, _ in told) == STAGES


def test_between_it_is_told_every_few_seconds() -> None:
    told: list[tuple[str, int, int]] = []
    now = 0.0
    meter = Meter(lambda *one: told.append(one), every_s=5, clock=lambda: now)
    items = [TextRow("a", "xyz"), Skipped("binary"), *(TextRow("b", "x") for _ in range(3))]
    for _ in meter.watch("reading", items):
        now += 2
    assert told == [("reading", 2, 6), ("reading", 4, 10)]


def test_too_many_values_to_remember_refuse_the_upload(tmp_path: Path) -> None:
    people = "".join(f"mail('p{number}@firm{number}.com')\n" for number in range(30))
    path, out = tar_gz(tmp_path / "x", {"a.py": code("a"), "b.py": code("b") + people}), tmp_path / "out"
    with pytest.raises(DatasetRefused, match="more than 20 secrets"):
        prepare(path, "x.tar.gz", out, b"s", limits=Limits(values=20))
    assert list(out.iterdir()) == []


def test_a_tree_is_prepared_in_bounded_memory(tmp_path: Path) -> None:
    words = random.Random(3).sample(range(10**6), 6000)
    parts = [f"def function_{chr(97 + n % 26) * 3}_{n}(value):\n    return value.name\n\n\n" for n in words]
    files = {f"d/{n}.py": "".join(parts[n : n + 5000 : 1 + n % 5]) for n in range(60)}
    path, secret = tar_gz(tmp_path / "x", files), tmp_path / "secret"
    secret.write_text("s")
    asked = [str(path), "--filename=x.tar.gz", "--out", str(tmp_path / "out"), "--secret-file", str(secret)]
    done = subprocess.run([sys.executable, "-c", PEAK, *asked], capture_output=True, text=True, check=True)
    *lines, peak = done.stdout.splitlines()
    assert int(peak) * 1024 < MOST_BYTES
    events = [json.loads(line) for line in lines]
    assert [event["stage"] for event in events if event["event"] == "progress"][-1] == "writing"
    assert events[-1]["event"] == "prepared"
    assert sum(map(len, files.values())) > 4e6
