"""How one engine is to run: what a profile, or a deployment's flags, say about parallelism, precision and adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inference.catalog.errors import BadFlags
from inference.catalog.preset import Profile

# vLLM's own short names (0.32).
_SHORT = {
    "-tp": "--tensor-parallel-size",
    "-dp": "--data-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dcp": "--decode-context-parallel-size",
    "-ep": "--enable-expert-parallel",
    "-q": "--quantization",
    "-sc": "--speculative-config",
}


@dataclass(frozen=True)
class Run:
    """One engine. `precision` is the catalog's name, "" where it is not known; `lora_rank` 0 means no adapters."""

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

    @property
    def expert_split(self) -> int:
        """How many ways each routed expert's rows are cut: vLLM flattens tensor over data parallelism, unless experts
        are spread whole.
        """
        return 1 if self.expert_parallel else self.tensor_parallel * self.data_parallel


def of_profile(profile: Profile) -> Run:
    """What a profile of the catalog amounts to."""
    given = _Flags(profile.flags)
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

    `stored_as`: the checkpoint's precision by the catalog's name.
    Raises: BadFlags, naming the flag, when a number is none.
    """
    given = _Flags(flags)
    data = given.number("--data-parallel-size", 1)
    asked_for = given.has("--tensor-parallel-size") or given.has("--data-parallel-size")
    return Run(
        devices=devices,
        precision=_precision(stored_as, given.value("--quantization")),
        max_model_len=max_model_len,
        tensor_parallel=given.number("--tensor-parallel-size", 1 if asked_for else devices),
        data_parallel=data,
        pipeline_parallel=given.number("--pipeline-parallel-size", 1),
        decode_context_parallel=given.number("--decode-context-parallel-size", 1),
        expert_parallel=given.has("--enable-expert-parallel"),
        enforce_eager=given.has("--enforce-eager"),
        kv_cache_dtype=given.value("--kv-cache-dtype") or "auto",
        lora_rank=given.number("--max-lora-rank", 16) if given.has("--enable-lora") else 0,
        lora_modules=given.values("--lora-target-modules"),
        speculative=given.value("--speculative-config"),
    )


def _precision(stored_as: str, quantization: str) -> str:
    """Sixteen-bit weights that the engine itself makes smaller have one scale for a tensor."""
    return "fp8-tensor" if stored_as == "bf16" and quantization == "fp8" else stored_as


class _Flags:
    """An engine's flags by their long names; the last one of a name counts, and `--no-…` takes it back."""

    def __init__(self, flags: Sequence[str]) -> None:
        self._given: dict[str, list[str]] = {}
        for name, values in _named(flags):
            if name.startswith("--no-"):
                self._given.pop(name.replace("--no-", "--", 1), None)
            else:
                self._given[name] = values

    def has(self, name: str) -> bool:
        return name in self._given

    def values(self, name: str) -> tuple[str, ...]:
        return tuple(self._given.get(name, ()))

    def value(self, name: str) -> str:
        return " ".join(self._given.get(name, ()))

    def number(self, name: str, default: int) -> int:
        text = self.value(name)
        if not text and name not in self._given:
            return default
        if not text.isdecimal() or int(text) < 1:
            raise BadFlags(f"{name} must be a whole number of at least 1, not {text!r}")
        return int(text)


def _named(flags: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    name, values = "", list[str]()
    for flag in flags:
        if not flag.startswith("-") or flag[1:2].isdigit():
            values.append(flag)
            continue
        if name:
            yield name, values
        head, equals, value = flag.partition("=")
        name, values = _SHORT.get(head, head.replace("_", "-")), [value] if equals else []
    if name:
        yield name, values
