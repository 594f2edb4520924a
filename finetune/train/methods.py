"""What a run may train: an adapter, every parameter, or the routed experts that the data uses most. Standard library only."""

from __future__ import annotations

LORA = "lora"
FULL = "full"
EXPERTS = "experts"  # ESFT, Wang et al. 2024 (arXiv 2407.01906)
METHODS = (LORA, FULL, EXPERTS)
ADAPTER = "adapter"  # where a LoRA run leaves its result, below the attempt's directory
# How an expert's part in the data is counted (section 3.2 there): how often tokens choose it, or with which weight.
TOKENS, GATE = "tokens", "gate"
SCORES = (TOKENS, GATE)
