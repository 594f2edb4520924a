"""The planner's formulas, each by itself, with its source and units. What they are put together to is replica.py's work.

Sources: the DeepSeek-V2 report (arXiv 2405.04434, section 2.1 for latent attention), the released configurations, and counting
two FLOP for each multiply-add. "Derived" means counted from the shape.
"""

from __future__ import annotations

from inference.capacity.shapes import Shape
from inference.catalog.architecture import DeepseekV2, Llama

ACTIVATION_BYTES = 2  # bf16
# Dispatch goes in 8 bits and combine in 16, as in DeepSeek's own expert parallelism.
EXCHANGE_BYTES = 3


def experts_touched(experts: int, per_token: int, sequences: float) -> float:
    """Experts of a layer that a decode step reads: E(1 - (1 - k/E)^B).

    Source: derived, routing taken as uniform and independent. Units: experts.
    """
    if experts == 0:
        return 0.0
    return float(experts * (1 - (1 - per_token / experts) ** sequences))


def decode_flop(shape: Shape, context_tokens: float) -> float:
    """FLOP of one output token, with latent attention in its absorbed form.

    Source: derived; 2 FLOP per active parameter, and per token of context and head a product with the cached latent and
    rotary key and one with the latent. Units: FLOP per token.
    """
    per_head = 2 * shape.kv_lora_rank + shape.qk_rope_head_dim if isinstance(shape, DeepseekV2) else 2 * shape.head_dim
    return 2 * shape.active_parameters + 2 * shape.layers * shape.heads * per_head * context_tokens


def prefill_flop(shape: Shape, input_tokens: float, hit_rate: float = 0.0) -> float:
    """FLOP of one uncached input token, the mean over a prompt whose first `hit_rate` is in the prefix cache.

    Source: derived; no output layer, attention not absorbed and causal. Uncached tokens come last and look back on the
    cached ones, hence 1 + hit_rate. Units: FLOP per token.
    """
    if isinstance(shape, DeepseekV2):
        per_head = shape.qk_nope_head_dim + shape.qk_rope_head_dim + shape.v_head_dim
    else:
        per_head = 2 * shape.head_dim
    mean_context = input_tokens * (1 + hit_rate) / 2
    weights = shape.active_parameters - shape.vocab * shape.hidden
    return 2 * weights + 2 * shape.layers * shape.heads * per_head * mean_context


def all_reduce_bytes(shape: Shape, cards: int, tokens: float) -> float:
    """Bytes that each card sends under tensor parallelism: two ring all-reduces a layer, 2 L [2(N-1)/N] B h 2.

    Source: derived, bf16 activations. Units: bytes for `tokens` tokens.
    """
    return 2 * shape.layers * (2 * (cards - 1) / cards) * tokens * shape.hidden * ACTIVATION_BYTES


def expert_exchange_bytes(shape: Shape, cards: int, tokens: float) -> float:
    """Bytes that each card sends under expert parallelism: L_moe (B/N) min(k, N) (N-1)/N h 3.

    Source: derived, dispatch in fp8 and combine in bf16. Units: bytes for `tokens` tokens of all cards together.
    """
    if isinstance(shape, Llama):
        return 0.0
    moe_layers = shape.layers - shape.first_k_dense
    elsewhere = min(shape.experts_per_token, cards) * (cards - 1) / cards
    return moe_layers * (tokens / cards) * elsewhere * shape.hidden * EXCHANGE_BYTES


def kv_capacity_tokens(usable_bytes: float, weight_bytes: float, token_bytes: float, split: int) -> float:
    """Tokens that `split` cards hold together when each has a share of every sequence's cache.

    Source: derived; usable is 0.92 of the memory less 4 GB (inference.catalog.hardware). Units: bytes a card, tokens.
    """
    return max(0.0, usable_bytes - weight_bytes) * split / token_bytes


def running_sequences(output_tps: float, tpot_s: float) -> float:
    """How many sequences run at once: B = R_out TPOT.

    Source: Little's law. Units: tokens/s, seconds, sequences.
    """
    return output_tps * tpot_s


def utilization(prefill_flops: float, decode_flops: float, peak: float, prefill: float = 1, decode: float = 1) -> float:
    """Both at once: the share of a box's time, U = prefill work / (P eta_p) + decode work / (P eta_d), at most 1.

    With both efficiencies 1 it is the efficiency that the work requires. Source: derived. Units: FLOP/s.
    """
    return prefill_flops / (peak * prefill) + decode_flops / (peak * decode)
