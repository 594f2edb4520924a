"""A base model's shape as its config.json tells it: its linear layers, and its parameters by part. Standard library only.

Only the architectures that the catalog has are known. What is counted here is what a checkpoint of them holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LATENT, GROUPED = "deepseek_v2", "llama"


class UnknownShape(Exception):
    """A base model of which its config.json tells too little, or in a way that is not known here."""

    code = "unknown_shape"
    permanent = True


@dataclass(frozen=True)
class Linear:
    """A linear layer by the end of its name, as in `layers.3.self_attn.q_proj`."""

    name: str
    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Its weights; none of the known architectures has biases."""
        return self.inputs * self.outputs

    def is_adapted(self, targets: Sequence[str]) -> bool:
        """Whether one of the targets is the end of its name, as PEFT matches them."""
        return any(self.name.endswith(f".{target}") or self.name == target for target in targets)


@dataclass(frozen=True)
class Layer:
    """One layer. `experts`: routed ones, each of three matrices of `expert_width`; 0 in a dense layer."""

    linears: tuple[Linear, ...]
    norms: int
    width: int  # of the dense part's inside, shared experts included
    experts: int = 0
    experts_per_token: int = 0
    expert_width: int = 0


@dataclass(frozen=True)
class Shape:
    """A model. `key_width` and `value_width` are of all heads together; `latent`: its attention keeps a latent."""

    hidden: int
    vocab: int
    heads: int
    key_width: int
    value_width: int
    latent: int
    tied: bool
    layers: tuple[Layer, ...]

    @property
    def parts(self) -> dict[str, int]:
        """Parameters by part."""
        linears = [linear for layer in self.layers for linear in layer.linears]
        attention = sum(linear.parameters for linear in linears if ".self_attn." in linear.name)
        return {
            "embeddings": (1 if self.tied else 2) * self.vocab * self.hidden,
            "attention": attention,
            "dense": sum(linear.parameters for linear in linears) - attention,
            "experts": sum(layer.experts * 3 * self.hidden * layer.expert_width for layer in self.layers),
            "other": sum(layer.norms + layer.experts * self.hidden for layer in self.layers) + self.hidden,
        }

    @property
    def parameters(self) -> int:
        """All of them; a tied embedding counts once."""
        return sum(self.parts.values())

    @property
    def active_parameters(self) -> int:
        """What one token is multiplied with: of the experts only those that it is sent to, no look-up of its embedding."""
        idle = sum(
            (layer.experts - layer.experts_per_token) * 3 * self.hidden * layer.expert_width for layer in self.layers
        )
        return self.parameters - idle - (0 if self.tied else self.vocab * self.hidden)

    def adapted(self, targets: Sequence[str]) -> list[Linear]:
        """The linear layers that get an adapter."""
        return [linear for layer in self.layers for linear in layer.linears if linear.is_adapted(targets)]

    def adapter_parameters(self, targets: Sequence[str], rank: int) -> int:
        """Of both matrices of every adapted layer (LoRA, arXiv 2106.09685, section 4.1)."""
        return sum(rank * (linear.inputs + linear.outputs) for linear in self.adapted(targets))


def shape_of(model: Path) -> Shape:
    """A model directory's shape.

    Raises: UnknownShape.
    """
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnknownShape(f"{model / 'config.json'} can't be read: {error}") from None
    if not isinstance(config, dict) or config.get("model_type") not in (LATENT, GROUPED):
        raise UnknownShape(f"{model.name} is of an architecture whose memory is not known")
    try:
        return _latent(config) if config["model_type"] == LATENT else _grouped(config)
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownShape(f"{model / 'config.json'}: {error}") from None


def _grouped(config: Mapping[str, Any]) -> Shape:
    hidden, heads, width = (int(config[name]) for name in ("hidden_size", "num_attention_heads", "intermediate_size"))
    head = int(config.get("head_dim") or hidden // heads)
    stored = int(config.get("num_key_value_heads") or heads) * head
    layers = []
    for number in range(int(config["num_hidden_layers"])):
        attention = {"q_proj": (hidden, heads * head), "k_proj": (hidden, stored), "v_proj": (hidden, stored)}
        linears = _named(number, "self_attn", attention | {"o_proj": (heads * head, hidden)})
        layers.append(Layer((*linears, *_gated(number, "mlp", hidden, width)), 2 * hidden, width))
    tied = bool(config.get("tie_word_embeddings", False))
    return Shape(hidden, int(config["vocab_size"]), heads, heads * head, heads * head, 0, tied, tuple(layers))


def _latent(config: Mapping[str, Any]) -> Shape:
    hidden, heads, latent = (int(config[name]) for name in ("hidden_size", "num_attention_heads", "kv_lora_rank"))
    plain, rotary, value = (int(config[name]) for name in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    dense = int(config.get("first_k_dense_replace") or 0)
    rank = int(config.get("q_lora_rank") or 0)
    keys = heads * (plain + rotary)
    queries = {"q_a_proj": (hidden, rank), "q_b_proj": (rank, keys)} if rank else {"q_proj": (hidden, keys)}
    attention = queries | {
        "kv_a_proj_with_mqa": (hidden, latent + rotary), "kv_b_proj": (latent, heads * (plain + value)),
        "o_proj": (heads * value, hidden),
    }  # fmt: skip
    layers = []
    for number in range(int(config["num_hidden_layers"])):
        linears = _named(number, "self_attn", attention)
        norms = 2 * hidden + latent + rank
        layers.append(
            _dense(config, number, linears, norms) if number < dense else _mixed(config, number, linears, norms)
        )
    tied = bool(config.get("tie_word_embeddings", False))
    return Shape(hidden, int(config["vocab_size"]), heads, keys, heads * value, latent, tied, tuple(layers))


def _dense(config: Mapping[str, Any], number: int, attention: tuple[Linear, ...], norms: int) -> Layer:
    width = int(config["intermediate_size"])
    return Layer((*attention, *_gated(number, "mlp", int(config["hidden_size"]), width)), norms, width)


def _mixed(config: Mapping[str, Any], number: int, attention: tuple[Linear, ...], norms: int) -> Layer:
    width, experts = int(config["moe_intermediate_size"]), int(config["n_routed_experts"])
    shared = int(config.get("n_shared_experts") or 0) * width
    linears = _gated(number, "mlp.shared_experts", int(config["hidden_size"]), shared) if shared else ()
    return Layer((*attention, *linears), norms, shared, experts, int(config["num_experts_per_tok"]), width)


def _gated(number: int, place: str, hidden: int, width: int) -> tuple[Linear, ...]:
    sizes = {"gate_proj": (hidden, width), "up_proj": (hidden, width), "down_proj": (width, hidden)}
    return _named(number, place, sizes)


def _named(number: int, place: str, sizes: Mapping[str, tuple[int, int]]) -> tuple[Linear, ...]:
    return tuple(Linear(f"layers.{number}.{place}.{name}", *size) for name, size in sizes.items())
