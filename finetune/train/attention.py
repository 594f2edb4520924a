"""Attention over documents that lie end to end in one row: each sees itself only, as if it were alone.

No mask over the whole row is made, and nothing of one document is compared with another: the work is that of the documents,
and the same kernels see the same lengths. Runs inside an engine slot.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from finetune.train.shape import GROUPED, LATENT

NAME = "coderack_documents"
# Full causal attention in every layer, handed the call's own arguments: others may have windows, or masks of their own.
KNOWN = frozenset({GROUPED, LATENT})


def by_document(base: Any) -> bool:
    """Have a model's attention keep documents apart; False where it is not known how, and nothing was changed."""
    if base.config.model_type not in KNOWN:
        return False
    AttentionInterface.register(NAME, attend)
    base.set_attn_implementation(NAME)  # which only warns where it can't
    return bool(base.config._attn_implementation == NAME)


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    document_lengths: list[int] | None = None,
    **settings: Any,
) -> tuple[Any, None]:
    """Causal attention within each document; without lengths a row is one document.

    Shapes: query, key, value: (B, heads, L, width), B = 1 with lengths; returns (B, L, heads, width).
    """
    if document_lengths is None:
        whole: tuple[Any, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return whole
    # split, not sliced: its backward pass puts the parts' gradients together once
    parts = zip(*(states.split(document_lengths, dim=2) for states in (query, key, value)), strict=True)
    return torch.cat([sdpa_attention_forward(module, *part, None, **settings)[0] for part in parts], dim=1), None
