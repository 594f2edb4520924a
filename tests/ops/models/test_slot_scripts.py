"""What runs inside an engine slot imports the standard library and the slot's packages only."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.env import REPO

pytestmark = pytest.mark.engine
SCRIPTS = [
    "ops/models/gguf_to_safetensors.py",
    "ops/models/tiny_deepseek/build.py",
    "ops/models/tiny_deepseek/build_seeded.py",
]
ROOTS = ("appliance", "inference", "ops", "tests")
IMPORT = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="imported")
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_imports_with_the_slots_python_and_nothing_of_the_control_plane(slot_python: Path, script: str) -> None:
    done = subprocess.run(
        [slot_python, "-I", "-c", IMPORT, str(REPO / script)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert not set(ROOTS) & set(done.stdout.split())
