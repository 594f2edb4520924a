"""How many tokens a second a layout gives: prefill alone, decode alone, and every mixture of the two.

Prefill takes a share of the box's time and decode gets the rest: a decode step then takes 1/(1 - share) times as long, and
must still end within the time per output token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inference.capacity import formulas
from inference.capacity.question import Case, Target
from inference.capacity.replica import Limit, Replica

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
HALVINGS = 50


@dataclass(frozen=True)
class Decoding:
    """What decode gives beside prefill. Units: tokens/s of the whole box; sequences running on it."""

    tokens_per_s: float
    sequences: int
    limit: Limit


@dataclass(frozen=True)
class Point:
    """Rates that hold at the same time. Input counts cached tokens."""

    input_tps: float
    output_tps: float


@dataclass(frozen=True)
class ContractRow:
    """A pair of rates against the box.

    `required_efficiency` is the part of the peak FLOP/s that the pair needs, above 1 beyond physics; `assumed_efficiency` is
    what this mixture is assumed to reach; `sequences` run at the asked time per token.
    """

    input_tps: float
    output_tps: float
    feasible: bool
    required_efficiency: float
    assumed_efficiency: float
    binding_limit: Limit
    sequences: float


def decoding(replica: Replica, share: float) -> Decoding:
    """The most output tokens/s while prefill takes `share` of the time."""
    budget = replica.case.tpot_s * (1 - share)
    held = replica.sequences
    most = _most(replica, held, budget)
    rate = (1 - share) * most / replica.step(most).seconds * replica.layout.replicas if most else 0.0
    return Decoding(rate, most * replica.layout.replicas, _limit(replica, share, most, held))


def prefill_share(replica: Replica, input_tps: float) -> float:
    """The share of time that so much input takes; above 1 it can't be done."""
    seconds, _ = replica.prefill_seconds()
    return input_tps * (1 - replica.case.asked.hit_rate) * seconds / replica.layout.replicas


def max_input(replica: Replica) -> float:
    """Input tokens/s with nothing else to do, cached ones counted; none where not one sequence fits."""
    return 1 / prefill_share(replica, 1.0) if replica.sequences else 0.0


def frontier(replica: Replica) -> tuple[Point, ...]:
    """The most output beside none, a quarter, half, three quarters and all of the input that is possible."""
    most = max_input(replica)
    return tuple(Point(share * most, decoding(replica, share).tokens_per_s) for share in SHARES)


def together(replica: Replica) -> tuple[float, Limit]:
    """The most requests/s of the asked lengths with nothing left over, and what binds there."""
    asked = replica.case.asked
    low, high = 0.0, max_input(replica) / asked.input_tokens
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        share = prefill_share(replica, middle * asked.input_tokens)
        if share <= 1 and decoding(replica, share).tokens_per_s >= middle * asked.output_tokens:
            low = middle
        else:
            high = middle
    return low, decoding(replica, min(1.0, prefill_share(replica, low * asked.input_tokens))).limit


def contract_row(replica: Replica, target: Target) -> ContractRow:
    """One pair of rates, answered."""
    share = prefill_share(replica, target.input_tps)
    found = decoding(replica, min(1.0, share))
    enough = replica.sequences > 0 and share <= 1 and found.tokens_per_s >= target.output_tps
    cards = replica.layout.replicas * replica.layout.cards_per_replica
    row = judged(replica.case, cards, target, enough, found.limit)
    if enough or share > 1 or found.limit is Limit.KV_MEMORY or row.required_efficiency > row.assumed_efficiency:
        return row
    # There is compute enough for both, so what stops the pair is in the decode step alone.
    parts = replica.step(max(1, found.sequences // replica.layout.replicas)).parts
    return replace(row, binding_limit=max(parts, key=lambda limit: parts[limit]))


def judged(case: Case, cards: int, target: Target, feasible: bool, limit: Limit) -> ContractRow:
    """A row with its efficiencies, which depend on the work and the cards only."""
    shape, asked = case.preset.architecture, case.asked
    prefill = target.input_tps * (1 - asked.hit_rate) * formulas.prefill_flop(shape, asked.input_tokens, asked.hit_rate)
    decode = target.output_tps * formulas.decode_flop(shape, case.mean_context)
    peak, efficiency = cards * case.peak_flops, case.speeds.efficiency
    required = formulas.utilization(prefill, decode, peak)
    used = formulas.utilization(prefill, decode, peak, efficiency.prefill, efficiency.decode)
    return ContractRow(
        input_tps=target.input_tps,
        output_tps=target.output_tps,
        feasible=feasible,
        required_efficiency=required,
        assumed_efficiency=required / used if used else efficiency.decode,
        binding_limit=limit,
        sequences=formulas.running_sequences(target.output_tps, case.tpot_s),
    )


def _most(replica: Replica, held: int, budget_s: float) -> int:
    """The largest batch whose step ends in time: steps only get longer with more sequences."""
    low, high = 0, held
    while low < high:
        middle = (low + high + 1) // 2
        if replica.step(middle).seconds <= budget_s:
            low = middle
        else:
            high = middle - 1
    return low


def _limit(replica: Replica, share: float, most: int, held: int) -> Limit:
    """The cache where it is full and computing is not; else what takes the most of the time, prefill included."""
    step = replica.step(max(most, 1))
    if most == held and (held == 0 or step.read_s > step.compute_s):
        return Limit.KV_MEMORY
    _, prefill_limit = replica.prefill_seconds()
    spent = {prefill_limit: share}
    whole = step.seconds / (1 - share) if most else replica.case.tpot_s
    for limit, seconds in step.parts.items():
        spent[limit] = spent.get(limit, 0.0) + seconds / whole
    return max(spent, key=lambda limit: spent[limit])
