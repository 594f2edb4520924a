"""What a slot's own vLLM understands: it ends at a flag that it doesn't know.

The scale-out flag, with which requests are aborted by id, is known from 0.30 on; before it was a variable. Without either the
gateway hangs up, which ends a request as well, and bills what was delivered.
"""

from __future__ import annotations

import json
from pathlib import Path

_SCALE_OUT = ("entrypoints/**/cli_args.py", "enable_scale_out")
_BUCKETS = ("engine/arg_utils.py", "custom_histogram_buckets")

# vLLM's own bounds of version 0.32, and those that contracts are written in: they jump from 1 s to 2.5 s otherwise.
_BUCKETS_S = {
    "time_to_first_token": (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
        *(1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
    ),
    "inter_token_latency": (  # for the time per output token too
        *(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.07, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10, 20, 40, 80),
    ),
}


def release_flags(slot_python: Path) -> list[str]:
    """The flags that not every release has, as far as this slot's has them."""
    scale_out = ["--enable-scale-out"] if _takes(slot_python, *_SCALE_OUT) else []
    return [
        *scale_out,
        *(["--custom-histogram-buckets", json.dumps(_BUCKETS_S)] if _takes(slot_python, *_BUCKETS) else []),
    ]


def release_environment(slot_python: Path) -> dict[str, str]:
    """What older releases are told by a variable instead."""
    return {} if _takes(slot_python, *_SCALE_OUT) else {"VLLM_ENABLE_SCALE_OUT_ENDPOINTS": "1"}


def _takes(slot_python: Path, sources: str, name: str) -> bool:
    """Whether a release's sources name a flag; where they can't be read, yes."""
    try:
        found = list(slot_python.parent.parent.glob(f"lib/python3.*/site-packages/vllm/{sources}"))
        return not found or any(name in source.read_text(errors="replace") for source in found)
    except OSError:
        return True
