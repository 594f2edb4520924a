"""A run's result: a directory with the adapter's weights, its configuration and a manifest. Runs inside an engine slot."""

from __future__ import annotations

import enum
import shutil
from typing import Any

from safetensors.torch import save_file

from finetune import files, manifest
from finetune.train.methods import ADAPTER
from finetune.train.model import describe_base
from finetune.train.spec import TrainSpec
from finetune.train.state import WEIGHTS, adapter_weights

CONFIG = "adapter_config.json"


def write_adapter(spec: TrainSpec, run: str, model: Any) -> manifest.Manifest:
    """Write it, whole or not at all. The same run gives the same bytes: no time and no path is in it."""
    final = spec.out / ADAPTER
    made = spec.out / f".{ADAPTER}"
    for folder in (made, final):
        shutil.rmtree(folder, ignore_errors=True)
    made.mkdir()
    save_file(adapter_weights(model), made / WEIGHTS, metadata={"format": "pt"})
    files.write_json(made / CONFIG, config_of(model))
    base, digest, licence = describe_base(spec.model_path)
    origin = f"finetune:{run} base:{digest}"
    manifest.write(made, name=f"{base}-adapter", origin=origin, licence=licence)
    made.rename(final)
    files.sync_directory(spec.out)
    return manifest.read(final)


def config_of(model: Any) -> dict[str, Any]:
    """adapter_config.json: what PEFT itself would write, its sets in a fixed order."""
    content = model.peft_config["default"].to_dict() | {"inference_mode": True}
    return {name: _plain(value) for name, value in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return value.value if isinstance(value, enum.Enum) else value
