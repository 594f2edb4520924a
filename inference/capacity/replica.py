"""One replica's memory and speed: the formulas put together for a case and a layout."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from inference.capacity import formulas
from inference.capacity.layout import Layout
from inference.capacity.question import Case
from inference.capacity.speeds import BANDWIDTH_SHARE, LINK_SHARE, STEP_OVERHEAD_S
from inference.catalog.architecture import DeepseekV2


class Limit(StrEnum):
    """What would have to be bigger for a rate to rise."""

    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"
    COMMUNICATION = "communication"
    KV_MEMORY = "kv_memory"
    WEIGHTS_MEMORY = "weights_memory"


@dataclass(frozen=True)
class Step:
    """The parts of one decode step, in seconds. Reading and computing overlap; the rest does not."""

    read_s: float
    compute_s: float
    exchange_s: float

    @property
    def seconds(self) -> float:
        """max(bytes / bandwidth, FLOP / compute) + communication + overhead."""
        return max(self.read_s, self.compute_s) + self.exchange_s + STEP_OVERHEAD_S

    @property
    def parts(self) -> dict[Limit, float]:
        """What takes the step's time; the overlapped smaller part takes none."""
        longer = Limit.COMPUTE if self.compute_s >= self.read_s else Limit.BANDWIDTH
        return {longer: max(self.read_s, self.compute_s), Limit.COMMUNICATION: self.exchange_s}


@dataclass(frozen=True)
class Replica:
    """A case on one of its layouts."""

    case: Case
    layout: Layout

    @property
    def weight_bytes(self) -> float:
        """Weights on each card: what is not routed is split by tensor parallelism only."""
        weights = self.case.weights
        return weights.other_bytes / self.layout.tensor_parallel + weights.routed_bytes / self.layout.expert_split

    @property
    def fits(self) -> bool:
        """Whether the weights go into what a card leaves."""
        return self.weight_bytes <= self.case.card.usable_bytes

    @property
    def kv_split(self) -> int:
        """Over how many cards a sequence's cache is divided: a latent cache is whole on every tensor-parallel rank."""
        shape = self.case.preset.architecture
        by_heads = 1 if isinstance(shape, DeepseekV2) else min(self.layout.tensor_parallel, shape.kv_heads)
        return max(by_heads, self.layout.decode_context_parallel)

    @property
    def kv_token_bytes(self) -> int:
        """Cache of one token, all its parts together."""
        return self.case.preset.kv_bytes_per_token(self.layout.kv_element_bytes)

    @property
    def group_tokens(self) -> float:
        """Tokens that the cache of one data-parallel rank holds: no sequence may be longer."""
        return formulas.kv_capacity_tokens(
            self.case.card.usable_bytes, self.weight_bytes, self.kv_token_bytes, self.kv_split
        )

    @property
    def sequences(self) -> int:
        """Sequences of full length that fit at once, so that none is ever thrown out half done."""
        return int(self.group_tokens // self.case.full_tokens) * self.layout.data_parallel

    def step(self, sequences: float) -> Step:
        """One decode step of so many sequences on the whole replica."""
        case, layout = self.case, self.layout
        flop = sequences * formulas.decode_flop(case.preset.architecture, case.mean_context)
        peak = case.peak_flops * case.speeds.efficiency.decode * layout.cards_per_replica
        read = self._decode_bytes(sequences) / (case.speeds.bandwidth * BANDWIDTH_SHARE)
        return Step(read, flop / peak, self._exchange_s(sequences))

    def prefill_seconds(self) -> tuple[float, Limit]:
        """Time of one uncached input token, and what it goes to.

        Weights are read once for thousands of tokens, so bandwidth never binds. The published efficiency is end to end:
        the exchange counts only where the link alone is slower.
        """
        case = self.case
        flop = formulas.prefill_flop(case.preset.architecture, case.asked.input_tokens, case.asked.hit_rate)
        compute = flop / (case.peak_flops * case.speeds.efficiency.prefill * self.layout.cards_per_replica)
        exchange = self._exchange_s(1)
        return (exchange, Limit.COMMUNICATION) if exchange > compute else (compute, Limit.COMPUTE)

    def _decode_bytes(self, sequences: float) -> float:
        """[W_other/N + W_routed E_act/(E N)] + B S KV/N on each card, each with the N of its split."""
        case, layout = self.case, self.layout
        shape = case.preset.architecture
        touched = 0.0
        if isinstance(shape, DeepseekV2):
            experts = formulas.experts_touched(shape.routed_experts, shape.experts_per_token, sequences)
            touched = case.weights.routed_bytes * experts / shape.routed_experts / layout.expert_split
        cache = sequences / layout.data_parallel * case.mean_context * self.kv_token_bytes / self.kv_split
        return case.weights.other_bytes / layout.tensor_parallel + touched + cache

    def _exchange_s(self, tokens: float) -> float:
        shape, layout = self.case.preset.architecture, self.layout
        sent = formulas.all_reduce_bytes(shape, layout.tensor_parallel, tokens / layout.data_parallel)
        if layout.expert_parallel and layout.data_parallel > 1:
            sent += formulas.expert_exchange_bytes(shape, layout.cards_per_replica, tokens)
        return sent / (self.case.speeds.link * LINK_SHARE)
