"""One model of the catalog, as frozen values. Reading and checking the files is inference.catalog.load's work."""

from __future__ import annotations

from dataclasses import dataclass

from inference.catalog.architecture import Architecture


@dataclass(frozen=True)
class Context:
    """Lengths in tokens: `trained` is what the model was trained to, `default` what a request may use unasked."""

    trained: int
    default: int


@dataclass(frozen=True)
class ChatFormat:
    """How turns become text. The engine renders the checkpoint's own template; this says what it must amount to."""

    system: str
    user: str
    assistant: str
    generation_prompt: str
    bos: str
    stop: str
    tools: bool


@dataclass(frozen=True)
class FimFormat:
    """Fill in the middle, prefix first: begin + prefix + hole + suffix + end. Each of the three is a single token."""

    served: bool
    begin: str
    hole: str
    end: str
    note: str

    def render(self, prefix: str, suffix: str) -> str:
        """The prompt whose continuation is the middle."""
        return f"{self.begin}{prefix}{self.hole}{suffix}{self.end}"


@dataclass(frozen=True)
class Licence:
    """Under which terms the weights may be used; `use_restricted` means terms must be passed on to every user."""

    id: str
    name: str
    commercial_use: bool
    redistribution: bool
    use_restricted: bool
    obligations: tuple[str, ...]


@dataclass(frozen=True)
class Lora:
    """Which modules an adapter may change so that the engine really applies it."""

    targets: tuple[str, ...]
    max_rank: int


@dataclass(frozen=True)
class Profile:
    """How one replica runs on some hardware. `variant` tells several ways on the same hardware apart."""

    hardware: tuple[str, ...]
    precision: str
    devices: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    variant: str = ""
    tensor_parallel: int = 1
    data_parallel: int = 1
    decode_context_parallel: int = 1
    expert_parallel: bool = False
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    lora_rank: int = 0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Impossible:
    """Hardware that a model can't be served on, and why."""

    hardware: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Preset:
    """One model. `weight_gb` gives decimal gigabytes per precision; `served_as` starts the ids that clients see."""

    name: str
    title: str
    served_as: str
    owned_by: str
    architecture: Architecture
    context: Context
    chat: ChatFormat | None
    fim: FimFormat | None
    licence: Licence
    weight_gb: dict[str, float]
    lora: Lora
    profiles: tuple[Profile, ...]
    impossible: tuple[Impossible, ...]

    def kv_bytes_per_token(self, element_bytes: int = 2) -> int:
        """What one token of context takes in the cache of one rank."""
        return self.architecture.kv_elements_per_token * element_bytes
