"""Who plays in the demo: two tenants with a plan each, and the people of one of them. All of it is invented."""

from __future__ import annotations

from dataclasses import dataclass

NORTH = "demo-north"
SOUTH = "demo-south"
REQUESTER = "demo-requester"
APPROVER = "demo-approver"
FIM_MODEL = "demo-tiny-deepseek-v2"


@dataclass(frozen=True)
class Terms:
    """A plan as it is given to the command line: prices are amounts per million tokens."""

    currency: str
    input_price: str
    cached_price: str
    output_price: str
    max_context_tokens: int
    policy: str
    only_demo_model: bool


TERMS: dict[str, Terms] = {
    NORTH: Terms("CNY", "1.25", "0.125", "3.5", 2048, "auto", False),
    SOUTH: Terms("USD", "0.8", "0.08", "1.6", 1024, "approve", True),
}
PEOPLE = (REQUESTER, APPROVER)
