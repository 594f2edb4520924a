"""`plan(question)`: the whole answer, as plain values."""

from __future__ import annotations

from inference.capacity.answer import (
    Answer,
    Assumption,
    Calibrated,
    Decode,
    KvCapacity,
    Prefill,
    Published,
    Together,
    WeightsFit,
)
from inference.capacity.calibration import Calibration, interval
from inference.capacity.fitted import fitted
from inference.capacity.layout import Layout, layouts, recommended
from inference.capacity.nearest import nearest
from inference.capacity.question import Case, Question, resolve
from inference.capacity.rates import (
    Box,
    ContractRow,
    Decoding,
    contract_row,
    decoding,
    frontier,
    hopeless_row,
    max_input,
    most_input,
    most_output,
    most_requests,
    together,
)
from inference.capacity.replica import Limit, Replica
from inference.capacity.speeds import BEST_PUBLISHED, CHUNK_TOKENS, PLAIN_TENSOR_PARALLEL, STEP_OVERHEAD_S
from inference.catalog.hardware import GB, RESERVED_BYTES, USABLE_SHARE

PUBLISHED = Published(BEST_PUBLISHED.prefill, BEST_PUBLISHED.decode, PLAIN_TENSOR_PARALLEL, BEST_PUBLISHED.source)


def plan(question: Question) -> Answer:
    """Answer a question from data sheets, shapes and a calibration on published measurements; nothing is measured.

    Raises: BadQuestion for names that don't exist, values that can't be, and fewer cards than the catalog's profile takes.
    """
    case = resolve(question)
    candidates = [_box(case, layout) for layout in layouts(case)]
    fitting = [box for box in candidates if box.replica.fits]
    if not fitting:
        # Shown on the layout that comes closest.
        return _answer(min(candidates, key=lambda box: box.replica.weight_bytes))
    return _answer(max(fitting, key=_worth))


def _box(case: Case, layout: Layout) -> Box:
    calibration = fitted()
    efficiency = calibration.efficiency(case.engine, _spread(layout))
    replica = Replica(case.work, layout, efficiency)
    return Box(case, replica, _factor(calibration, case, replica))


def _factor(calibration: Calibration, case: Case, replica: Replica) -> float:
    """By which part of the asked mixture's time is prefill, decode and the engine's own."""
    running = max(1, replica.sequences)
    step = replica.step(running)
    into = case.asked.input_tokens * (1 - case.asked.hit_rate) * replica.prefill_seconds()[0]
    out = case.asked.output_tokens * (step.seconds - step.engine_s) / running
    own = case.asked.output_tokens * step.engine_s / running
    whole = into + out + own
    return calibration.factor_of(case.engine, _spread(replica.layout), (into / whole, out / whole, own / whole))


def _spread(layout: Layout) -> bool:
    """Whether attention runs on every card by itself with the experts spread."""
    return layout.expert_parallel and layout.data_parallel > 1


def _worth(box: Box) -> tuple[float, float, float]:
    return together(box)[0], decoding(box, 0.0).tokens_per_s, max_input(box)


def _answer(box: Box) -> Answer:
    case, replica, layout, asked = box.case, box.replica, box.replica.layout, box.case.asked
    decode = decoding(box, 0.0) if replica.fits else Decoding(0.0, 0, Limit.WEIGHTS_MEMORY)
    requests, limit = together(box)
    limit = limit if decode.sequences else decode.limit
    reason = _reason(box, decode)
    return Answer(
        question=asked,
        possible=reason is None,
        reason=reason,
        nearest=_nearest(box),
        binding_limit=limit,
        layout=layout,
        recommended=recommended(case),
        weights=WeightsFit(case.weights.total_bytes / GB, replica.weight_bytes / GB, case.card.usable_bytes / GB),
        kv=KvCapacity(
            int(replica.kv_token_bytes),
            int(replica.group_tokens) * layout.data_parallel * layout.replicas,
            replica.sequences * layout.replicas,
        ),
        prefill=_prefill(box, limit),
        decode=_decode(box, decode),
        together=_together(box, requests),
        frontier=frontier(box),
        contract=_contract(box),
        calibrated=_calibrated(box),
        published=PUBLISHED,
        assumptions=_assumptions(),
    )


def _nearest(box: Box) -> str | None:
    found = None if box.replica.sequences else nearest(box.case)
    return f"{found.hardware} in {found.precision}" if found else None


def _prefill(box: Box, limit: Limit) -> Prefill:
    most, ceiling = max_input(box), most_input(box)
    return Prefill(
        most,
        interval(most, box.factor, ceiling),
        ceiling,
        most * (1 - box.case.asked.hit_rate),
        box.replica.prefill_seconds()[1] if most else limit,
    )


def _decode(box: Box, found: Decoding) -> Decode:
    ceiling = most_output(box)
    return Decode(
        found.tokens_per_s,
        interval(found.tokens_per_s, box.factor, ceiling),
        ceiling,
        found.sequences,
        found.limit,
    )


def _together(box: Box, requests: float) -> Together:
    asked, ceiling = box.case.asked, most_requests(box)
    within = interval(requests, box.factor, ceiling)
    return Together(requests, within, ceiling, requests * asked.input_tokens, requests * asked.output_tokens)


def _calibrated(box: Box) -> Calibrated:
    efficiency, layout = box.replica.efficiency, box.replica.layout
    kind = "experts spread" if _spread(layout) else "tensor" if layout.tensor_parallel > 1 else "one card"
    return Calibrated(box.case.engine, kind, efficiency.prefill, efficiency.decode, efficiency.sequence_s, box.factor)


def _contract(box: Box) -> tuple[ContractRow, ...]:
    case = box.case
    if box.replica.fits:
        return tuple(contract_row(box, target) for target in case.asked.targets)
    # All the cards there are, whatever they are too small for.
    return tuple(hopeless_row(case, case.cards, target, Limit.WEIGHTS_MEMORY) for target in case.asked.targets)


def _reason(box: Box, decode: Decoding) -> str | None:
    """Why not one sequence can be served, in numbers; None where it can."""
    case, replica, card = box.case, box.replica, box.case.card
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


def _assumptions() -> tuple[Assumption, ...]:
    common = "assumed: neither published for these models nor measured"
    return (
        Assumption("step_overhead_s", STEP_OVERHEAD_S, common),
        Assumption(
            "chunk_tokens", CHUNK_TOKENS, "prompts are worked on in chunks of this size, the engines' usual one"
        ),
        Assumption("memory_share", USABLE_SHARE, f"of a card, less {RESERVED_BYTES / GB:.0f} GB: derived"),
    )
