"""What a slot's own vLLM understands: releases before 0.32 end at a flag that they don't know, and serve without it."""

from pathlib import Path


def takes_buckets(slot_python: Path) -> bool:
    """Whether `--custom-histogram-buckets` is a flag of it, by its sources; where they can't be read, yes."""
    sources = slot_python.parent.parent.glob("lib/python3.*/site-packages/vllm/engine/arg_utils.py")
    return all("custom_histogram_buckets" in source.read_text(errors="replace") for source in sources)
