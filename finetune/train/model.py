"""The base model from its directory, and the LoRA layers on it. Runs inside an engine slot."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import transformers_weight_conversion
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from finetune import manifest
from finetune.train.errors import ModelRefused

log = logging.getLogger(__name__)
# PEFT 0.21 takes gate_proj, up_proj and down_proj of a model with experts for names of an older transformers, and adapts
# the routed experts instead of the shared ones or the dense layers that were asked for. Our targets are today's names.
transformers_weight_conversion.get_checkpoint_conversion_mapping = lambda _model_type: None


def load_tokenizer(model_path: Path) -> Any:
    """The model's own tokenizer; code that a model brings along is never run."""
    return AutoTokenizer.from_pretrained(model_path, local_files_only=True, trust_remote_code=False)


def load_base(model_path: Path, device: str) -> Any:
    """The base model in bf16, frozen.

    Raises: ModelRefused when its weights are quantized.
    """
    config = AutoConfig.from_pretrained(model_path, local_files_only=True, trust_remote_code=False)
    if getattr(config, "quantization_config", None):
        raise ModelRefused(f"{model_path.name} is quantized: name a bf16 copy of it to train on")
    model = AutoModelForCausalLM.from_pretrained(
        model_path, dtype=torch.bfloat16, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    model.requires_grad_(False)
    return model.to(device)


def check_targets(model: Any, targets: Sequence[str]) -> None:
    """Each name must be the end of at least one linear layer's name, and of nothing else.

    Raises: ModelRefused with every name that is not.
    """
    linear = (torch.nn.Linear,)
    matches = {
        target: [module for name, module in model.named_modules() if name == target or name.endswith(f".{target}")]
        for target in targets
    }
    faults = [f"{target} matches no module" for target, found in matches.items() if not found]
    faults += [
        f"{target} matches modules that are not linear layers"
        for target, found in matches.items()
        if not all(isinstance(module, linear) for module in found)
    ]
    if faults:
        raise ModelRefused("target_modules: " + "; ".join(faults))


def add_lora(base: Any, *, rank: int, alpha: int, targets: Sequence[str]) -> Any:
    """The base with LoRA layers in fp32, which alone are trained. Random: seed torch before.

    Raises: ModelRefused when the targets don't fit the model.
    """
    check_targets(base, targets)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=sorted(targets), lora_dropout=0.0, bias="none", task_type="CAUSAL_LM"
    )
    model = get_peft_model(base, config, autocast_adapter_dtype=True)
    made = model.peft_config["default"]
    if set(made.target_modules) != set(targets) or made.target_parameters:
        raise ModelRefused(
            f"target_modules: PEFT would adapt {made.target_modules} and {made.target_parameters} instead"
        )
    # set after the call: the name, and no path of this machine, belongs in the adapter
    model.peft_config["default"].base_model_name_or_path = Path(base.config._name_or_path).name
    return model


def load_adapter(base: Any, adapter_path: Path) -> Any:
    """The base with a finished adapter.

    Raises: ModelRefused when the adapter's directory is not whole.
    """
    problems = manifest.verify(adapter_path)
    if problems or not (adapter_path / "adapter_model.safetensors").is_file():
        raise ModelRefused("; ".join(problems) or f"{adapter_path} holds no adapter_model.safetensors")
    with warnings.catch_warnings(record=True) as said:  # missing and unknown weights are only warned about
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, adapter_path, is_trainable=False, autocast_adapter_dtype=True)
    wrong = [
        str(warning.message) for warning in said if "adapter" in str(warning.message) and "keys" in str(warning.message)
    ]
    if wrong:
        raise ModelRefused(f"{adapter_path} does not fit the model: {wrong[0]}")
    return model.eval()


def describe_base(model_path: Path) -> tuple[str, str, str]:
    """The base's name, digest and licence as its manifest says; unknown where it has none."""
    try:
        base = manifest.read(model_path)
    except manifest.NotWhole:
        return model_path.name, "unknown", "unknown"
    return base.name, base.digest, base.licence
