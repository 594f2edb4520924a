"""How one engine is to run: what a profile, or a deployment's flags, say about parallelism, precision and adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from inference.catalog.errors import BadFlags
from inference.catalog.preset import Profile
from inference.engines.vllm_flags import CONTEXT_FLAG, Flags, cut_short, splits


@dataclass(frozen=True)
class Run:
    """One engine. `precision` is the catalog's name, "" where it is not known; `lora_rank` 0 means no adapters.

    `stored_as`: the checkpoint's own precision, where an engine may make it smaller.
    """

    devices: int
    precision: str
    max_model_len: int
    tensor_parallel: int = 1
    data_parallel: int = 1
    pipeline_parallel: int = 1
    decode_context_parallel: int = 1
    expert_parallel: bool = False
    enforce_eager: bool = False
    kv_cache_dtype: str = "auto"
    lora_rank: int = 0
    lora_modules: tuple[str, ...] = ()
    speculative: str = ""
    stored_as: str = field(default="", compare=False)

    @property
    def expert_split(self) -> int:
        """How many ways each routed expert's rows are cut: vLLM flattens tensor over data parallelism, unless experts
        are spread whole.
        """
        return 1 if self.expert_parallel else self.tensor_parallel * self.data_parallel


def of_profile(profile: Profile) -> Run:
    """What a profile of the catalog amounts to."""
    given = Flags(profile.flags)
    return Run(
        devices=profile.devices,
        precision=profile.precision,
        max_model_len=profile.max_model_len,
        tensor_parallel=profile.tensor_parallel,
        data_parallel=profile.data_parallel,
        decode_context_parallel=profile.decode_context_parallel,
        expert_parallel=profile.expert_parallel,
        enforce_eager=given.has("--enforce-eager"),
        kv_cache_dtype=profile.kv_cache_dtype or "auto",
        lora_rank=profile.lora_rank,
        lora_modules=given.values("--lora-target-modules"),
    )


def of_flags(flags: Sequence[str], devices: int, stored_as: str, max_model_len: int) -> Run:
    """What an engine's flags amount to; without a word on parallelism the pool splits tensors over all its devices.

    `stored_as`: the checkpoint's precision by the catalog's name. `max_model_len` holds where the flags say no other.
    Raises: BadFlags, naming the flag, when a number is none or a name that matters here is cut short.
    """
    _refuse_cut_short(flags)
    given = Flags(flags)
    data = _number(given, "--data-parallel-size", 1)
    return Run(
        devices=devices,
        precision=_precision(stored_as, given.value("--quantization")),
        stored_as=stored_as,
        max_model_len=_number(given, CONTEXT_FLAG, max_model_len),
        tensor_parallel=_number(given, "--tensor-parallel-size", 1 if splits(flags) else devices),
        data_parallel=data,
        pipeline_parallel=_number(given, "--pipeline-parallel-size", 1),
        decode_context_parallel=_number(given, "--decode-context-parallel-size", 1),
        expert_parallel=given.has("--enable-expert-parallel"),
        enforce_eager=given.has("--enforce-eager"),
        kv_cache_dtype=given.value("--kv-cache-dtype") or "auto",
        lora_rank=_number(given, "--max-lora-rank", 16) if given.has("--enable-lora") else 0,
        lora_modules=given.values("--lora-target-modules"),
        speculative=given.value("--speculative-config"),
    )


def _precision(stored_as: str, quantization: str) -> str:
    """Sixteen-bit weights that the engine itself makes smaller have one scale for a tensor."""
    return "fp8-tensor" if stored_as == "bf16" and quantization == "fp8" else stored_as


def _number(given: Flags, name: str, default: int) -> int:
    text = given.value(name)
    if not given.has(name):
        return default
    if not text.isdecimal() or int(text) < 1:
        raise BadFlags(f"{name} must be a whole number of at least 1, not {text!r}")
    return int(text)


def _refuse_cut_short(flags: Sequence[str]) -> None:
    told = [f"{name} ({' or '.join(meant)})" for name, meant in cut_short(flags).items()]
    if told:
        raise BadFlags(f"flags must be written out, not cut short: {', '.join(told)}")
