"""One replica's memory and speed: the formulas put together for a piece of work and a layout."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from inference.capacity import formulas
from inference.capacity.efficiency import IDEAL, Efficiency
from inference.capacity.layout import Layout
from inference.capacity.speeds import CHUNK_TOKENS, STEP_OVERHEAD_S
from inference.capacity.work import Work
from inference.catalog.architecture import DeepseekV2, Llama
from inference.catalog.memory import cache_split


class Limit(StrEnum):
    """What would have to be bigger for a rate to rise."""

    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"
    COMMUNICATION = "communication"
    KV_MEMORY = "kv_memory"
    WEIGHTS_MEMORY = "weights_memory"
    ENGINE = "engine"


@dataclass(frozen=True)
class Step:
    """The parts of one decode step, in seconds. Reading and computing overlap; the rest does not.

    `engine_s` is the engine's own time: scheduling, sampling and sending for each sequence.
    """

    read_s: float
    compute_s: float
    exchange_s: float
    engine_s: float = 0.0
    decode_efficiency: float = 1.0

    @property
    def seconds(self) -> float:
        """(max(bytes / bandwidth, FLOP / compute) + communication + overhead) / efficiency + the engine's own time."""
        ideal = max(self.read_s, self.compute_s) + self.exchange_s + STEP_OVERHEAD_S
        return ideal / self.decode_efficiency + self.engine_s

    @property
    def parts(self) -> dict[Limit, float]:
        """What takes the step's time; the overlapped smaller part takes none."""
        longer = Limit.COMPUTE if self.compute_s >= self.read_s else Limit.BANDWIDTH
        return {
            longer: max(self.read_s, self.compute_s) / self.decode_efficiency,
            Limit.COMMUNICATION: self.exchange_s / self.decode_efficiency,
            Limit.ENGINE: self.engine_s + STEP_OVERHEAD_S / self.decode_efficiency,
        }


@dataclass(frozen=True)
class Replica:
    """Work on one layout, by an engine of some efficiency."""

    work: Work
    layout: Layout
    efficiency: Efficiency = IDEAL

    @property
    def weight_bytes(self) -> float:
        """Weights on each card: what is not routed is split by tensor parallelism only."""
        weights = self.work.weights
        return weights.other_bytes / self.layout.tensor_parallel + weights.routed_bytes / self.layout.expert_split

    @property
    def fits(self) -> bool:
        """Whether the weights go into what a card leaves."""
        return self.weight_bytes <= self.work.card.usable_bytes

    @property
    def kv_split(self) -> int:
        """Over how many cards a sequence's cache is divided."""
        heads = 1 if isinstance(self.work.shape, DeepseekV2) else self.work.shape.kv_heads
        return cache_split(heads, self.layout.tensor_parallel, self.layout.decode_context_parallel)

    @property
    def kv_token_bytes(self) -> float:
        """Cache of one token, all its parts together."""
        told = self.work.kv_token_bytes
        return told or self.work.shape.kv_elements_per_token * self.layout.kv_element_bytes

    @property
    def group_tokens(self) -> float:
        """Tokens that the cache of one data-parallel rank holds: no sequence may be longer."""
        return formulas.kv_capacity_tokens(
            self.work.card.usable_bytes, self.weight_bytes, self.kv_token_bytes, self.kv_split
        )

    @property
    def sequences(self) -> int:
        """Sequences of full length that fit at once, so that none is ever thrown out half done."""
        return int(self.group_tokens // self.work.full_tokens) * self.layout.data_parallel

    def step(self, sequences: float) -> Step:
        """One decode step of so many sequences on the whole replica."""
        work, layout = self.work, self.layout
        flop = sequences * formulas.decode_flop(work.shape, work.mean_context)
        return Step(
            self._decode_bytes(sequences) / work.speeds.bandwidth,
            flop / (work.peak_flops * layout.cards_per_replica),
            self._exchange_s(sequences),
            sequences / layout.data_parallel * self.efficiency.sequence_s,
            self.efficiency.decode,
        )

    def prefill_seconds(self) -> tuple[float, Limit]:
        """Time of one uncached input token, and what most of it goes to.

        (max(FLOP / compute, bytes / bandwidth of a chunk's one reading) + communication + a chunk's overhead) / efficiency.
        """
        work = self.work
        flop = formulas.prefill_flop(work.shape, work.input_tokens, work.hit_rate)
        compute = flop / (work.peak_flops * self.layout.cards_per_replica)
        read = self.weight_bytes / CHUNK_TOKENS / self.layout.data_parallel / work.speeds.bandwidth
        exchange = self._exchange_s(1)
        ideal = max(compute, read) + exchange + STEP_OVERHEAD_S / CHUNK_TOKENS
        parts = {Limit.COMPUTE: compute, Limit.BANDWIDTH: read, Limit.COMMUNICATION: exchange}
        return ideal / self.efficiency.prefill, max(parts, key=lambda limit: parts[limit])

    def _decode_bytes(self, sequences: float) -> float:
        """[W_other/N + W_routed E_act/(E N)] + B S KV/N on each card, each with the N of its split."""
        work, layout = self.work, self.layout
        shape = work.shape
        touched = 0.0
        if not isinstance(shape, Llama):
            experts = formulas.experts_touched(shape.routed_experts, shape.experts_per_token, sequences)
            touched = work.weights.routed_bytes * experts / shape.routed_experts / layout.expert_split
        cache = sequences / layout.data_parallel * work.mean_context * self.kv_token_bytes / self.kv_split
        return work.weights.other_bytes / layout.tensor_parallel + touched + cache

    def _exchange_s(self, tokens: float) -> float:
        shape, layout = self.work.shape, self.layout
        sent = formulas.all_reduce_bytes(shape, layout.tensor_parallel, tokens / layout.data_parallel)
        if layout.expert_parallel and layout.data_parallel > 1:
            sent += formulas.expert_exchange_bytes(shape, layout.cards_per_replica, tokens)
        return sent / self.work.speeds.link
