"""The loss on answer positions only is the model's own loss; padding changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine
LOSSES = """
import json, sys, torch
from array import array
from pathlib import Path
from finetune.train import head
from finetune.train.model import load_base
from finetune.train.tokens import Example

model = load_base(Path(sys.argv[1]), "cpu").float().eval()
examples = [Example(array("i", range(5, 5 + n)), ((n // 2, n - 1),)) for n in (11, 16, 30)]
own = []
for example in examples:
    ids = torch.tensor([list(example.ids)])
    labels = torch.full_like(ids, -100)
    for start, end in example.spans:
        labels[0, start:end] = ids[0, start:end]
    with torch.no_grad():
        own.append(float(model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss) * example.answer_tokens)
batch = head.side_by_side(examples, 0, "cpu")
head.HEAD_ROWS = 7  # fewer than there are
with torch.no_grad():
    ours = float(head.loss_sum(model, batch))
    scores = head.log_probabilities(model, batch.ids[2:, :30])
start, end = examples[2].spans[0]
shape = list(batch.ids.shape)
print(json.dumps({"own": own, "ours": ours, "scored": -sum(scores[start - 1 : end - 1]), "shape": shape}))
"""
CAPPED = """
import json, sys, torch
from pathlib import Path
from finetune.train import head
from finetune.train.errors import ModelRefused
from finetune.train.model import load_base

model = load_base(Path(sys.argv[1]), "cpu")
head.check_head(model, "cpu")
forward = model.forward
def capped(**arguments):
    told = forward(**arguments)
    told.logits = torch.tanh(told.logits)
    return told
model.forward = capped
try:
    head.check_head(model, "cpu")
except ModelRefused as error:
    print(json.dumps(str(error)))
"""


def test_it_is_the_models_own_loss_also_when_rows_are_padded(tiny_model: Path, in_slot: Callable[..., Any]) -> None:
    found = in_slot(LOSSES, tiny_model)
    assert found["shape"] == [3, 32]
    assert found["ours"] == pytest.approx(sum(found["own"]), rel=1e-4)
    assert found["scored"] == pytest.approx(found["own"][2], rel=1e-4)


def test_a_model_that_changes_its_heads_output_is_refused(tiny_model: Path, in_slot: Callable[..., Any]) -> None:
    assert "changes its head's output" in in_slot(CAPPED, tiny_model)
