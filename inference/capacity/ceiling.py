"""What no engine can exceed: every FLOP at the peak, every byte at full bandwidth, all overlapped, nothing sent or waited for.

Memory counts whole here: neither a reserve nor an engine's working space is taken off before the cache.
"""

from __future__ import annotations

from inference.capacity import formulas
from inference.capacity.published import Measurement
from inference.capacity.replica import Replica


def share(replica: Replica, input_tps: float, output_tps: float, most_running: float | None = None) -> float:
    """The part of the ceiling that rates of one replica take: above 1 they can't be.

    Source: roofline, max(FLOP / peak, bytes / bandwidth). `most_running` is what ran at once where that is known.
    """
    work, cards = replica.work, replica.layout.cards_per_replica
    running = max(1.0, min(_room(replica), most_running or float("inf")))
    step = replica.step(running)
    prefill = formulas.prefill_flop(work.shape, work.input_tokens, work.hit_rate) * (1 - work.hit_rate)
    computing = input_tps * prefill / (work.peak_flops * cards) + output_tps * step.compute_s / running
    return max(computing, output_tps * step.read_s / running)


def share_of(row: Measurement) -> float:
    """The part of the ceiling that a published measurement took."""
    sent = row.requests / row.replicas if row.requests else None
    limits = [float(limit) for limit in (sent, row.max_running) if limit]
    into, out = (row.input_tps or 0.0) / row.replicas, (row.output_tps or 0.0) / row.replicas
    return share(row.replica, into, out, min(limits, default=None))


def _room(replica: Replica) -> float:
    """Sequences of mean length in all the memory beside the weights."""
    work = replica.work
    left = formulas.kv_capacity_tokens(
        work.card.memory_bytes, replica.weight_bytes, replica.kv_token_bytes, replica.kv_split
    )
    return left / work.mean_context * replica.layout.data_parallel
