"""An older engine's slot: it gets no flag that its vLLM does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.engines.vllm_release import release_environment, release_flags

BUCKETS = ["--custom-histogram-buckets"]
SCALE_OUT = "--enable-scale-out"
VARIABLE = {"VLLM_ENABLE_SCALE_OUT_ENDPOINTS": "1"}


def slot(root: Path, sources: dict[str, str]) -> Path:
    """The Python of a slot whose vLLM has these sources."""
    for name, text in sources.items():
        source = root / "lib/python3.11/site-packages/vllm" / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
    return root / "bin" / "python"


@pytest.mark.parametrize(
    ("sources", "flags", "variables"),
    [
        ({}, [SCALE_OUT, *BUCKETS], {}),
        ({"engine/arg_utils.py": "custom_histogram_buckets = None"}, [SCALE_OUT, *BUCKETS], {}),
        ({"engine/arg_utils.py": ""}, [SCALE_OUT], {}),
        ({"entrypoints/openai/cli_args.py": "enable_scale_out: bool"}, [SCALE_OUT, *BUCKETS], {}),
        ({"entrypoints/openai/cli_args.py": "", "engine/arg_utils.py": ""}, [], VARIABLE),
        (
            {"entrypoints/openai/cli_args.py": "", "entrypoints/launchers/cli_args.py": "enable_scale_out"},
            [SCALE_OUT, *BUCKETS],
            {},
        ),
    ],
)
def test_the_slots_own_sources_say_what_it_takes(
    tmp_path: Path, sources: dict[str, str], flags: list[str], variables: dict[str, str]
) -> None:
    python = slot(tmp_path, sources)
    assert [flag for flag in release_flags(python) if flag.startswith("--")] == flags
    assert release_environment(python) == variables
