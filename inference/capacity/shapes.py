"""Shapes of the models that published measurements are about, beside those of the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from inference.catalog.architecture import Architecture, DeepseekV2, Yarn
from inference.catalog.load import preset


@dataclass(frozen=True)
class GroupedMoe:
    """Grouped-query attention with a mixture of experts in every layer and none shared, as in Qwen3's MoE models."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    routed_experts: int
    experts_per_token: int
    moe_intermediate: int
    vocab: int
    first_k_dense: int = 0

    @property
    def kv_elements_per_token(self) -> int:
        """Keys and values of all layers."""
        return self.layers * 2 * self.kv_heads * self.head_dim

    @property
    def routed_parameters(self) -> int:
        """What lies in routed experts."""
        return self.layers * self.routed_experts * self._expert

    @property
    def total_parameters(self) -> int:
        """All weights, both embeddings included; norms are left out."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        gates = self.layers * self.hidden * self.routed_experts
        return self.layers * attention + gates + self.routed_parameters + 2 * self.vocab * self.hidden

    @property
    def active_parameters(self) -> int:
        """What one token's step multiplies with."""
        idle = self.layers * (self.routed_experts - self.experts_per_token) * self._expert
        return self.total_parameters - idle - self.vocab * self.hidden

    @property
    def _expert(self) -> int:
        return 3 * self.hidden * self.moe_intermediate


Shape = Architecture | GroupedMoe

# config.json of DeepSeek-V3, which R1 and V3.1 share: 671 B in all, 36.6 B active. V3.2 has the same but for the indexer of
# its sparse attention, which is not counted.
DEEPSEEK_V3 = DeepseekV2(
    layers=61,
    first_k_dense=3,
    hidden=7168,
    heads=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    routed_experts=256,
    experts_per_token=8,
    shared_experts=1,
    moe_intermediate=2048,
    dense_intermediate=18432,
    topk_method="noaux_tc",
    expert_groups=8,
    topk_groups=4,
    routed_scaling=2.5,
    norm_topk_prob=True,
    scoring="sigmoid",
    vocab=129280,
    max_position=163840,
    rope_theta=10000.0,
    yarn=Yarn(factor=40.0, original_tokens=4096, beta_fast=32, beta_slow=1, mscale=1.0),
)
# config.json of Qwen3-235B-A22B: 235 B in all, 22 B active.
QWEN3_235B = GroupedMoe(
    layers=94,
    hidden=4096,
    heads=64,
    kv_heads=4,
    head_dim=128,
    routed_experts=128,
    experts_per_token=8,
    moe_intermediate=1536,
    vocab=151936,
)


def shapes() -> dict[str, Shape]:
    """By the names that the files of published measurements use."""
    return {
        "deepseek-v2": preset("deepseek-coder-v2-instruct").architecture,
        "deepseek-v2-lite": preset("deepseek-coder-v2-lite-instruct").architecture,
        "deepseek-v3": DEEPSEEK_V3,
        "qwen3-235b": QWEN3_235B,
    }
