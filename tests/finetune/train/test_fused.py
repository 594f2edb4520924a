"""The faster layers: losses and gradients are the library's own, and in bf16 they are no further from the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine
TOLERANCE = 1e-4
BOTH = """
import json, sys, torch
from array import array
from copy import deepcopy
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
from finetune.train import fused, head
from finetune.train.attention import by_document
from finetune.train.model import add_lora, load_base
from finetune.train.state import trained_parameters
from finetune.train.tokens import Example

torch.manual_seed(5)
fused.BLOCK_VALUES = 1000  # several blocks, the last of them smaller
head.HEAD_ROWS, head.CACHED_VALUES = 7, 2500
examples = [Example(array("i", torch.randint(5, 900, (n,)).tolist()), ((1, n),)) for n in (11, 2, 30, 17)]

def learned(model, batch, autocast):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = head.loss_sum(model, batch) / 56
    loss.backward()
    found = {name: each.grad.clone() for name, each in trained_parameters(model).items()}
    return float(loss.detach()), torch.cat([each.flatten() for each in found.values()])

def away(one, other):
    return float((one - other).norm() / other.norm())

def told(base, targets):
    base.requires_grad_(False)
    model = add_lora(base, rank=4, alpha=8, targets=targets)
    for each in trained_parameters(model).values():
        torch.nn.init.normal_(each, std=0.05)  # the second matrix of each pair begins as zeros
    by_document(base)
    batch = head.end_to_end(examples, "cpu")
    whole = deepcopy(model).float()
    loss, truth = learned(whole, batch, False)
    replaced = fused.fuse(whole)
    faster_loss, faster = learned(whole, batch, False)
    with torch.no_grad():
        unlearned = float(head.loss_sum(whole, batch)) / 56
    with whole.disable_adapter(), torch.no_grad():
        bare = float(head.loss_sum(whole, batch)) / 56
    _, rounded = learned(model, batch, True)
    fused.fuse(model)
    _, faster_rounded = learned(model, batch, True)
    _, again = learned(model, batch, True)
    return {
        "replaced": replaced, "loss": loss, "faster": [faster_loss, unlearned], "bare": bare, "gradients": away(faster, truth),
        "rounded": [away(rounded, truth), away(faster_rounded, truth)], "repeats": torch.equal(faster_rounded, again),
    }

small = LlamaForCausalLM(LlamaConfig(
    vocab_size=1000, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2,
)).bfloat16()
print(json.dumps({
    "llama": told(small, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "deepseek_v2": told(load_base(Path(sys.argv[1]), "cpu"), ["q_proj", "kv_a_proj_with_mqa", "o_proj"]),
}))
"""
HEAD = """
import json, torch
from torch.nn import functional
from finetune.train.head import HeadLoss, is_frozen_matrix

torch.manual_seed(3)
weight = torch.randn(50, 8) * 30  # some labels are so unlikely that their probability is none in fp32
hidden, labels = torch.randn(600, 8, requires_grad=True), torch.randint(0, 50, (600,))
expected = functional.cross_entropy(hidden @ weight.T, labels, reduction="sum")
truth, = torch.autograd.grad(expected, hidden)
ours = HeadLoss.apply(hidden, weight, labels)
found, = torch.autograd.grad(ours, hidden)
none = HeadLoss.apply(hidden[:0], weight, labels[:0])
learned, biased = torch.nn.Linear(8, 50, bias=False), torch.nn.Linear(8, 50).requires_grad_(False)
frozen = torch.nn.Linear(8, 50, bias=False).requires_grad_(False)
print(json.dumps({
    "loss": [float(ours.detach()), float(expected.detach())],
    "gradient": float((found - truth).abs().max() / truth.abs().max()),
    "none": float(none.detach()), "largest": float(functional.cross_entropy(hidden @ weight.T, labels, reduction="none").max()),
    "taken": [is_frozen_matrix(head) for head in (frozen, learned, biased)],
}))
"""


def test_losses_and_gradients_are_the_librarys_own(tiny_model: Path, in_slot: Callable[..., Any]) -> None:
    for shape, found in in_slot(BOTH, tiny_model).items():
        assert found["replaced"] > 8, shape
        assert found["faster"] == pytest.approx([found["loss"]] * 2, rel=TOLERANCE), shape
        assert abs(found["bare"] - found["loss"]) > 1e-3, shape  # without its adapter a layer is another one
        assert found["gradients"] < TOLERANCE, shape
        library, ours = found["rounded"]
        assert 0 < ours < 1.25 * library, (shape, library, ours)
        assert found["repeats"], shape


def test_the_heads_loss_is_exact_also_where_a_label_is_all_but_impossible(in_slot: Callable[..., Any]) -> None:
    found = in_slot(HEAD)
    ours, expected = found["loss"]
    assert ours == pytest.approx(expected, rel=1e-5)
    assert found["largest"] > 150
    assert found["gradient"] < 1e-5
    assert found["none"] == 0
    assert found["taken"] == [True, False, False]
