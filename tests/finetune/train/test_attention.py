"""Documents end to end in one row: the model's own losses and gradients of each alone, on the shapes that are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine
TOLERANCE = 1e-4
PACK = """
import json, sys, torch
from array import array
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from finetune.train import head
from finetune.train.attention import by_document
from finetune.train.model import add_lora, load_base
from finetune.train.state import trained_parameters
from finetune.train.tokens import Example

LENGTHS = (11, 2, 30, 17)
torch.manual_seed(5)
drawn = [array("i", torch.randint(5, 900, (length,)).tolist()) for length in LENGTHS]
# all of a document is learned, or an answer only
examples = [Example(ids, ((1, len(ids)),) if n % 2 else ((len(ids) // 2, len(ids)),)) for n, ids in enumerate(drawn)]

def small_llama():
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=1000, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    ))

def own_loss(model, example):
    ids = torch.tensor([list(example.ids)])
    labels = torch.full_like(ids, -100)
    for start, end in example.spans:
        labels[0, start:end] = ids[0, start:end]
    return model(input_ids=ids, labels=labels).loss * example.answer_tokens

def gradients(model):
    found = torch.cat([each.grad.flatten() for each in trained_parameters(model).values()])
    model.zero_grad()
    return found

def told(base, targets):
    base.requires_grad_(False)
    model = add_lora(base.float(), rank=4, alpha=8, targets=targets)
    for name, each in trained_parameters(model).items():
        torch.nn.init.normal_(each, std=0.05)  # the second matrix of each pair begins as zeros
    alone = sum(own_loss(model, example) for example in examples)
    alone.backward()
    expected = gradients(model)
    apart = by_document(base)
    batch = head.end_to_end(examples, "cpu")
    together = head.loss_sum(model, batch)
    together.backward()
    difference = float((gradients(model) - expected).abs().max() / expected.abs().max())
    where = {"position_ids": batch.positions, "document_lengths": list(batch.lengths)}
    with torch.no_grad():
        before = head.hidden_states(model, batch.ids, **where)
        other = batch.ids.clone()
        other[0, 11:13] += 1  # the second document says something else
        moved = (head.hidden_states(model, other, **where) - before).abs().amax(dim=-1)[0] > 1e-3
        one_row = head.hidden_states(model, batch.ids)  # as if it were one document
    return {
        "apart": apart, "alone": float(alone), "together": float(together), "gradients": difference,
        "moved": [index for index, flag in enumerate(moved.tolist()) if flag],
        "one row differs": float((one_row - before).abs().max()), "shape": list(batch.ids.shape),
    }


windowed = MistralForCausalLM(MistralConfig(
    vocab_size=100, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
))
print(json.dumps({
    "other": [by_document(windowed), windowed.config._attn_implementation],
    "deepseek_v2": told(load_base(Path(sys.argv[1]), "cpu"), ["q_proj", "kv_a_proj_with_mqa", "o_proj"]),
    "llama": told(small_llama(), ["q_proj", "v_proj", "down_proj"]),
}))
"""


def test_a_packs_loss_and_gradients_are_those_of_its_documents_alone(
    tiny_model: Path, in_slot: Callable[..., Any]
) -> None:
    told = in_slot(PACK, tiny_model)
    assert told.pop("other") == [False, "sdpa"]
    for shape, found in told.items():
        assert found["apart"], shape
        assert found["shape"] == [1, 60]
        assert found["together"] == pytest.approx(found["alone"], rel=TOLERANCE), shape
        assert found["gradients"] < TOLERANCE, shape
        assert set(found["moved"]) == {11, 12}, shape
        assert found["one row differs"] > 0.01, shape  # so the comparison can fail
