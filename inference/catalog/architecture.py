"""The shapes of the models, and what follows from them: parameter counts and cache sizes.

Names are those of the released configurations, units are elements and not bytes, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

BF16_BYTES = 2
FP8_BYTES = 1


@dataclass(frozen=True)
class Yarn:
    """How a context beyond the trained one is reached. `mscale` is None where the checkpoint must be asked."""

    factor: float
    original_tokens: int
    beta_fast: int
    beta_slow: int
    mscale: float | None


@dataclass(frozen=True)
class DeepseekV2:
    """Multi-head latent attention with a mixture of experts (DeepSeek-V2 report, section 2)."""

    kind: ClassVar[str] = "deepseek_v2"

    layers: int
    first_k_dense: int
    hidden: int
    heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    routed_experts: int
    experts_per_token: int
    shared_experts: int
    moe_intermediate: int
    dense_intermediate: int
    topk_method: str
    expert_groups: int
    topk_groups: int
    routed_scaling: float
    norm_topk_prob: bool
    scoring: str
    vocab: int
    max_position: int
    rope_theta: float
    yarn: Yarn

    @property
    def kv_elements_per_token(self) -> int:
        """The latent and the rotary key, per layer; the same on every tensor-parallel rank."""
        return self.layers * (self.kv_lora_rank + self.qk_rope_head_dim)

    @property
    def routed_parameters(self) -> int:
        """What lies in routed experts."""
        return self._moe_layers * self.routed_experts * self._expert

    @property
    def total_parameters(self) -> int:
        """All weights, both embeddings included."""
        dense = self.first_k_dense * 3 * self.hidden * self.dense_intermediate
        gates = self._moe_layers * self.hidden * self.routed_experts
        shared = self._moe_layers * self.shared_experts * self._expert
        embeddings = 2 * self.vocab * self.hidden + self.hidden
        return self.layers * self._attention + dense + gates + shared + self.routed_parameters + embeddings

    @property
    def active_parameters(self) -> int:
        """What one token's step multiplies with: the input embedding is a look-up and does not count."""
        idle = self._moe_layers * (self.routed_experts - self.experts_per_token) * self._expert
        return self.total_parameters - idle - self.vocab * self.hidden

    @property
    def _moe_layers(self) -> int:
        return self.layers - self.first_k_dense

    @property
    def _expert(self) -> int:
        return 3 * self.hidden * self.moe_intermediate

    @property
    def _attention(self) -> int:
        queries = self.heads * (self.qk_nope_head_dim + self.qk_rope_head_dim)
        if self.q_lora_rank is None:
            query = self.hidden * queries
        else:
            query = self.hidden * self.q_lora_rank + self.q_lora_rank + self.q_lora_rank * queries
        latent = self.hidden * (self.kv_lora_rank + self.qk_rope_head_dim) + self.kv_lora_rank
        unfold = self.kv_lora_rank * self.heads * (self.qk_nope_head_dim + self.v_head_dim)
        output = self.heads * self.v_head_dim * self.hidden
        return query + latent + unfold + output + 2 * self.hidden


@dataclass(frozen=True)
class Llama:
    """Grouped-query attention, dense, the output tied to the embedding or not."""

    kind: ClassVar[str] = "llama"

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_position: int
    rope_theta: float
    tied_embeddings: bool

    @property
    def kv_elements_per_token(self) -> int:
        """Keys and values of all layers."""
        return self.layers * 2 * self.kv_heads * self.head_dim

    @property
    def routed_parameters(self) -> int:
        """A dense model has no experts."""
        return 0

    @property
    def total_parameters(self) -> int:
        """All weights; a tied embedding counts once."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + self.hidden + (1 if self.tied_embeddings else 2) * self.vocab * self.hidden

    @property
    def active_parameters(self) -> int:
        """What one token's step multiplies with."""
        return self.total_parameters - (0 if self.tied_embeddings else self.vocab * self.hidden)


Architecture = DeepseekV2 | Llama
