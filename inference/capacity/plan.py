"""`plan(question)`: the whole answer, as plain values."""

from __future__ import annotations

from inference.capacity.answer import Answer, Assumption, KvCapacity, Prefill, Published, Together, WeightsFit
from inference.capacity.layout import layouts, recommended
from inference.capacity.question import Case, Question, resolve
from inference.capacity.rates import (
    ContractRow,
    Decoding,
    contract_row,
    decoding,
    frontier,
    judged,
    max_input,
    together,
)
from inference.capacity.replica import Limit, Replica
from inference.capacity.speeds import (
    BANDWIDTH_SHARE,
    BEST_PUBLISHED,
    LINK_SHARE,
    PLAIN_TENSOR_PARALLEL,
    STEP_OVERHEAD_S,
)
from inference.catalog.hardware import GB, RESERVED_BYTES, USABLE_SHARE

PUBLISHED = Published(BEST_PUBLISHED.prefill, BEST_PUBLISHED.decode, PLAIN_TENSOR_PARALLEL, BEST_PUBLISHED.source)


def plan(question: Question) -> Answer:
    """Answer a question from data sheets, shapes and published efficiencies; nothing is measured.

    Raises: BadQuestion for names that don't exist, values that can't be, and fewer cards than the catalog's profile takes.
    """
    case = resolve(question)
    candidates = [Replica(case, layout) for layout in layouts(case)]
    fitting = [replica for replica in candidates if replica.fits]
    if not fitting:
        # Shown on the layout that comes closest.
        return _answer(min(candidates, key=lambda replica: replica.weight_bytes))
    return _answer(max(fitting, key=_worth))


def _worth(replica: Replica) -> tuple[float, float, float]:
    return together(replica)[0], decoding(replica, 0.0).tokens_per_s, max_input(replica)


def _answer(replica: Replica) -> Answer:
    case, layout, asked = replica.case, replica.layout, replica.case.asked
    decode = decoding(replica, 0.0) if replica.fits else Decoding(0.0, 0, Limit.WEIGHTS_MEMORY)
    requests, limit = together(replica)
    limit = limit if decode.sequences else decode.limit
    most = max_input(replica)
    reason = _reason(replica, decode)
    return Answer(
        question=asked,
        possible=reason is None,
        reason=reason,
        binding_limit=limit,
        layout=layout,
        recommended=recommended(case),
        weights=WeightsFit(case.weights.total_bytes / GB, replica.weight_bytes / GB, case.card.usable_bytes / GB),
        kv=KvCapacity(
            replica.kv_token_bytes,
            int(replica.group_tokens) * layout.data_parallel * layout.replicas,
            replica.sequences * layout.replicas,
        ),
        prefill=Prefill(most, most * (1 - asked.hit_rate), replica.prefill_seconds()[1] if most else limit),
        decode=decode,
        together=Together(requests, requests * asked.input_tokens, requests * asked.output_tokens),
        frontier=frontier(replica),
        contract=_contract(replica),
        published=PUBLISHED,
        assumptions=_assumptions(case),
    )


def _contract(replica: Replica) -> tuple[ContractRow, ...]:
    case = replica.case
    if replica.fits:
        return tuple(contract_row(replica, target) for target in case.asked.targets)
    # All the cards there are, whatever they are too small for.
    return tuple(judged(case, case.cards, target, False, Limit.WEIGHTS_MEMORY) for target in case.asked.targets)


def _reason(replica: Replica, decode: Decoding) -> str | None:
    """Why not one sequence can be served, in numbers; None where it can."""
    case, card = replica.case, replica.case.card
    if not replica.fits:
        cards = replica.layout.cards_per_replica
        return (
            f"{case.weights.total_bytes / GB:.1f} GB of weights in {case.precision.name} "
            f"put at least {replica.weight_bytes / GB:.1f} GB on {'the card' if cards == 1 else f'each of {cards} cards'}; "
            f"a {card.name} leaves {card.usable_bytes / GB:.1f} GB "
            f"({USABLE_SHARE} x {card.memory_bytes / GB:.0f} - {RESERVED_BYTES / GB:.0f})"
        )
    if replica.sequences == 0:
        held = int(replica.group_tokens)
        return f"beside the weights there is cache for {held} tokens; one sequence takes {case.full_tokens}"
    if decode.sequences == 0:
        alone = replica.step(1).seconds * 1000
        return f"a single sequence alone takes {alone:.1f} ms a token; {case.asked.tpot_ms:g} ms were asked"
    return None


def _assumptions(case: Case) -> tuple[Assumption, ...]:
    efficiency = case.speeds.efficiency
    common = "assumed: neither published for these models nor measured"
    return (
        Assumption("prefill_efficiency", efficiency.prefill, efficiency.source),
        Assumption("decode_efficiency", efficiency.decode, efficiency.source),
        Assumption("bandwidth_share", BANDWIDTH_SHARE, common),
        Assumption("link_share", LINK_SHARE, common),
        Assumption("step_overhead_s", STEP_OVERHEAD_S, common),
    )
