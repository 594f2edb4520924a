"""How many tokens a second a layout gives: prefill alone, decode alone, and every mixture of the two.

Prefill takes a share of the box's time and decode gets the rest: a decode step then takes 1/(1 - share) times as long, and
must still end within the time per output token.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from inference.capacity import ceiling, formulas
from inference.capacity.calibration import interval
from inference.capacity.efficiency import Interval
from inference.capacity.question import Case, Target
from inference.capacity.replica import Limit, Replica

SHARES = tuple(part / 16 for part in range(17))
HALVINGS = 32
# A pair that is done more often over than this is done.
MOST_OVER = 1e6


@dataclass(frozen=True)
class Box:
    """A question's case on equal replicas, with the factor either way in which its rates lie in 8 of 10 cases."""

    case: Case
    replica: Replica
    factor: float = 1.0

    @property
    def replicas(self) -> int:
        """Replicas that share the load."""
        return self.replica.layout.replicas

    @property
    def cards(self) -> int:
        """Cards that they take."""
        return self.replicas * self.replica.layout.cards_per_replica


@dataclass(frozen=True)
class Decoding:
    """What decode gives beside prefill. Units: tokens/s of the whole box; sequences running on it."""

    tokens_per_s: float
    sequences: int
    limit: Limit


@dataclass(frozen=True)
class Point:
    """Rates that hold at the same time, and where the output lies. Input counts cached tokens."""

    input_tps: float
    output_tps: float
    output_interval: Interval


class Outlook(StrEnum):
    """How sure a pair of rates is."""

    LIKELY = "likely"  # even the low end of the interval reaches it
    POSSIBLE = "possible"  # the prediction reaches it, the low end does not
    DOUBTFUL = "doubtful"  # only the high end reaches it
    UNLIKELY = "unlikely"  # the interval ends below it
    IMPOSSIBLE = "impossible"  # beyond physics, or the model does not fit


@dataclass(frozen=True)
class ContractRow:
    """A pair of rates against the box.

    `required_efficiency` is the part of the peak FLOP/s that the pair needs, above 1 beyond physics; `predicted_efficiency` is
    what the box is predicted to reach with this mixture and time per token; `reached` is how often over it does the pair, with
    its interval; `sequences` run at the asked time per token.
    """

    input_tps: float
    output_tps: float
    feasible: bool
    required_efficiency: float
    predicted_efficiency: float
    binding_limit: Limit
    reached: float
    reached_interval: Interval
    outlook: Outlook
    sequences: float


def decoding(box: Box, share: float) -> Decoding:
    """The most output tokens/s while prefill takes `share` of the time."""
    replica = box.replica
    budget = box.case.tpot_s * (1 - share)
    held = replica.sequences
    most = _most(replica, held, budget)
    rate = (1 - share) * most / replica.step(most).seconds * box.replicas if most else 0.0
    return Decoding(rate, most * box.replicas, _limit(box, share, most, held))


def prefill_share(box: Box, input_tps: float) -> float:
    """The share of time that so much input takes; above 1 it can't be done."""
    seconds, _ = box.replica.prefill_seconds()
    return input_tps * (1 - box.case.asked.hit_rate) * seconds / box.replicas


def max_input(box: Box) -> float:
    """Input tokens/s with nothing else to do, cached ones counted; none where not one sequence fits."""
    return 1 / prefill_share(box, 1.0) if box.replica.sequences else 0.0


def frontier(box: Box) -> tuple[Point, ...]:
    """The most output beside none, a part and all of the input that is possible."""
    most = max_input(box)
    points = []
    for share in SHARES:
        output = decoding(box, share).tokens_per_s
        points.append(Point(share * most, output, interval(output, box.factor, most_output(box))))
    return tuple(points)


def most_output(box: Box) -> float:
    """Output tokens/s that physics ends at, with nothing else to do."""
    return box.replicas / ceiling.share(box.replica, 0.0, 1.0)


def most_input(box: Box) -> float:
    """Input tokens/s that physics ends at, with nothing else to do."""
    return box.replicas / ceiling.share(box.replica, 1.0, 0.0)


def most_requests(box: Box) -> float:
    """Requests/s of the asked lengths that physics ends at."""
    asked = box.case.asked
    return box.replicas / ceiling.share(box.replica, asked.input_tokens, asked.output_tokens)


def together(box: Box) -> tuple[float, Limit]:
    """The most requests/s of the asked lengths with nothing left over, and what binds there."""
    asked = box.case.asked
    requests = reached(box, Target(asked.input_tokens, asked.output_tokens))
    share = min(1.0, prefill_share(box, requests * asked.input_tokens))
    return requests, decoding(box, share).limit


def reached(box: Box, target: Target) -> float:
    """How often over the box does a pair of rates at once."""
    if not box.replica.sequences:
        return 0.0
    low, high = 0.0, 1.0
    while high < MOST_OVER and _does(box, target, high):
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _does(box, target, middle):
            low = middle
        else:
            high = middle
    return low


def _does(box: Box, target: Target, times: float) -> bool:
    share = prefill_share(box, times * target.input_tps)
    return share <= 1 and decoding(box, share).tokens_per_s >= times * target.output_tps


def contract_row(box: Box, target: Target) -> ContractRow:
    """One pair of rates, answered."""
    share = min(1.0, prefill_share(box, target.input_tps))
    over = reached(box, target)
    required = required_efficiency(box.case, box.cards, target)
    physics = ceiling.share(box.replica, target.input_tps / box.replicas, target.output_tps / box.replicas)
    within = interval(over, box.factor, 1 / physics if physics else MOST_OVER)
    return ContractRow(
        input_tps=target.input_tps,
        output_tps=target.output_tps,
        feasible=over >= 1,
        required_efficiency=required,
        predicted_efficiency=required * over,
        binding_limit=_stops(box, decoding(box, share), over, share),
        reached=over,
        reached_interval=within,
        outlook=_outlook(over, within, physics),
        sequences=formulas.running_sequences(target.output_tps, box.case.tpot_s),
    )


def hopeless_row(case: Case, cards: int, target: Target, limit: Limit) -> ContractRow:
    """A pair of rates on a box that can't hold the model."""
    return ContractRow(
        input_tps=target.input_tps,
        output_tps=target.output_tps,
        feasible=False,
        required_efficiency=required_efficiency(case, cards, target),
        predicted_efficiency=0.0,
        binding_limit=limit,
        reached=0.0,
        reached_interval=Interval(0.0, 0.0),
        outlook=Outlook.IMPOSSIBLE,
        sequences=formulas.running_sequences(target.output_tps, case.tpot_s),
    )


def required_efficiency(case: Case, cards: int, target: Target) -> float:
    """The part of the peak FLOP/s that a pair of rates takes, which depends on the work and the cards only."""
    work, hit = case.work, case.asked.hit_rate
    prefill = target.input_tps * (1 - hit) * formulas.prefill_flop(work.shape, work.input_tokens, hit)
    decode = target.output_tps * formulas.decode_flop(work.shape, work.mean_context)
    return formulas.utilization(prefill, decode, cards * case.peak_flops)


def _outlook(over: float, within: Interval, physics: float) -> Outlook:
    if physics > 1:
        return Outlook.IMPOSSIBLE
    if over >= 1:
        return Outlook.LIKELY if within.low >= 1 else Outlook.POSSIBLE
    return Outlook.DOUBTFUL if within.high >= 1 else Outlook.UNLIKELY


def _stops(box: Box, found: Decoding, over: float, share: float) -> Limit:
    """What stops the pair, or would stop more output beside this input."""
    if over >= 1 or share >= 1 or found.limit is Limit.KV_MEMORY:
        return found.limit
    return _largest(box, found.sequences, share)


def _largest(box: Box, sequences: int, share: float) -> Limit:
    """What most of the time goes to: prefill's share, and the parts of decode steps in the rest."""
    _, of_prefill = box.replica.prefill_seconds()
    step = box.replica.step(max(1, sequences // box.replicas))
    spent = {of_prefill: share}
    whole = step.seconds / (1 - share) if share < 1 else box.case.tpot_s
    for limit, seconds in step.parts.items():
        spent[limit] = spent.get(limit, 0.0) + min(1.0, seconds / whole)
    return max(spent, key=lambda limit: spent[limit])


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


def _limit(box: Box, share: float, most: int, held: int) -> Limit:
    """The cache where it is full and computing is not; else what takes the most of the time, prefill included."""
    step = box.replica.step(max(most, 1))
    if most == held and (held == 0 or step.read_s > step.compute_s):
        return Limit.KV_MEMORY
    return _largest(box, most * box.replicas, share)
