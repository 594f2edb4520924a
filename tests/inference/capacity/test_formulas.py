"""Each formula against the figures that were worked out by hand for the two models."""

from __future__ import annotations

import pytest

from inference.capacity import formulas
from inference.capacity.efficiency import Efficiency
from inference.capacity.layout import Layout
from inference.capacity.question import Question, resolve
from inference.capacity.replica import Replica
from inference.capacity.shapes import shapes
from inference.capacity.speeds import SPEEDS
from inference.catalog.load import preset
from tests.inference.capacity.asking import CODER, LITE

BIG = preset(CODER).architecture
SMALL = preset(LITE).architecture


def test_a_step_of_many_sequences_touches_nearly_every_expert() -> None:
    assert formulas.experts_touched(160, 6, 1) == pytest.approx(6)
    assert formulas.experts_touched(160, 6, 2) == pytest.approx(160 * (1 - (154 / 160) ** 2))
    assert formulas.experts_touched(160, 6, 500) == pytest.approx(160, abs=0.001)
    assert formulas.experts_touched(0, 0, 500) == 0


@pytest.mark.parametrize(
    ("shape", "constant", "per_context"), [(BIG, 41.7e9, 16.71e6), (SMALL, 4.90e9, 0.940e6)], ids=["236B", "Lite"]
)
def test_it_counts_the_flop_of_an_output_token(shape: object, constant: float, per_context: float) -> None:
    assert formulas.decode_flop(shape, 0) == pytest.approx(constant, rel=0.002)  # type: ignore[arg-type]
    slope = formulas.decode_flop(shape, 1001) - formulas.decode_flop(shape, 1000)  # type: ignore[arg-type]
    assert slope == pytest.approx(per_context, rel=0.001)


@pytest.mark.parametrize(
    ("shape", "constant", "per_input"), [(BIG, 40.65e9, 2.458e6), (SMALL, 4.48e9, 0.138e6)], ids=["236B", "Lite"]
)
def test_it_counts_the_flop_of_an_input_token(shape: object, constant: float, per_input: float) -> None:
    assert formulas.prefill_flop(shape, 0) == pytest.approx(constant, rel=0.002)  # type: ignore[arg-type]
    slope = formulas.prefill_flop(shape, 1001) - formulas.prefill_flop(shape, 1000)  # type: ignore[arg-type]
    assert slope == pytest.approx(per_input, rel=0.003)


def test_the_uncached_rest_of_a_prompt_costs_what_the_cache_does_not_save() -> None:
    # A half cached prompt costs the whole prompt less its first half alone.
    whole = 1000 * formulas.prefill_flop(BIG, 1000)
    first_half = 500 * formulas.prefill_flop(BIG, 500)
    assert 500 * formulas.prefill_flop(BIG, 1000, 0.5) == pytest.approx(whole - first_half)


def test_it_counts_a_dense_model_too() -> None:
    shape = preset("smollm2-135m-instruct").architecture
    assert formulas.decode_flop(shape, 0) == 2 * shape.active_parameters
    assert formulas.decode_flop(shape, 1) - formulas.decode_flop(shape, 0) == 30 * 9 * 4 * 64
    assert formulas.expert_exchange_bytes(shape, 8, 100) == 0


def test_it_counts_what_cards_send_each_other() -> None:
    assert formulas.all_reduce_bytes(BIG, 1, 64) == 0
    assert formulas.all_reduce_bytes(BIG, 8, 64) == pytest.approx(2 * 60 * 2 * 7 / 8 * 64 * 5120 * 2)
    assert formulas.expert_exchange_bytes(BIG, 8, 64) == pytest.approx(59 * 8 * 6 * 7 / 8 * 5120 * 3)
    assert formulas.expert_exchange_bytes(BIG, 4, 64) == pytest.approx(59 * 16 * 4 * 3 / 4 * 5120 * 3)


def test_ten_thousand_tokens_a_second_at_fifty_milliseconds_keep_five_hundred_sequences_running() -> None:
    assert formulas.running_sequences(10_000, 0.050) == pytest.approx(500)


def test_both_at_once_add_up() -> None:
    assert formulas.utilization(30, 20, 100) == pytest.approx(0.5)
    assert formulas.utilization(30, 20, 100, 0.6, 0.4) == pytest.approx(1.0)


def test_absorbed_latent_attention_is_bound_by_compute_on_an_h20() -> None:
    flop = formulas.decode_flop(BIG, 1001) - formulas.decode_flop(BIG, 1000)
    intensity = flop / preset(CODER).kv_bytes_per_token()
    card = SPEEDS["h20-96"]
    assert intensity == pytest.approx(242, abs=0.5)
    assert card.bf16 / card.bandwidth == pytest.approx(37)


def replica(hardware: str, precision: str, layout: Layout) -> Replica:
    return Replica(resolve(Question(CODER, hardware, precision)).work, layout)


def test_attention_on_every_card_keeps_the_other_weights_whole_and_divides_the_cache() -> None:
    split = replica("8xH20-96", "fp8", Layout(1, data_parallel=8, expert_parallel=True, kv_element_bytes=1))
    assert split.weight_bytes == pytest.approx((237 - 222.7) * 1e9 + 222.7e9 / 8, rel=0.001)
    together = replica("8xH20-96", "fp8", Layout(1, tensor_parallel=8, kv_element_bytes=1))
    assert together.weight_bytes == pytest.approx(237e9 / 8)
    # The latent cache lies whole on all eight ranks: one card's room, not eight.
    assert together.group_tokens == pytest.approx((96e9 * 0.92 - 4e9 - 237e9 / 8) / 34_560, rel=0.001)
    assert split.sequences == int((96e9 * 0.92 - 4e9 - split.weight_bytes) / 34_560 // 3000) * 8


def test_decode_context_parallelism_divides_the_latent_cache() -> None:
    whole = replica("8xA100", "bf16", Layout(1, tensor_parallel=8))
    divided = replica("8xA100", "bf16", Layout(1, tensor_parallel=8, decode_context_parallel=8))
    assert divided.group_tokens == pytest.approx(8 * whole.group_tokens)


def test_a_step_of_one_sequence_reads_what_it_needs_and_no_more() -> None:
    alone = replica("8xH20-96", "bf16", Layout(1, tensor_parallel=8))
    read = ((471.5 - 445.4) + 445.4 * 6 / 160) * 1e9 / 8 + 2500 * 69_120
    assert alone.step(1).read_s == pytest.approx(read / 4.0e12, rel=0.001)
    step = alone.step(64)
    assert step.seconds == pytest.approx(max(step.read_s, step.compute_s) + step.exchange_s + 0.002)


def test_an_engine_takes_its_part_of_the_ideal_and_time_of_its_own() -> None:
    ideal = replica("8xH20-96", "bf16", Layout(1, tensor_parallel=8))
    slower = Replica(ideal.work, ideal.layout, Efficiency(0.5, 0.25, 100e-6))
    assert slower.step(64).seconds == pytest.approx(ideal.step(64).seconds / 0.25 + 64 * 100e-6)
    assert slower.prefill_seconds()[0] == pytest.approx(ideal.prefill_seconds()[0] / 0.5)
    split = Replica(ideal.work, Layout(1, data_parallel=8, expert_parallel=True), Efficiency(1, 1, 100e-6))
    assert split.step(64).engine_s == pytest.approx(8 * 100e-6)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [("deepseek-v3", 671.0e9, 36.6e9), ("qwen3-235b", 235.1e9, 21.6e9), ("deepseek-v2", 235.7e9, 20.85e9)],
)
def test_published_shapes_have_the_sizes_that_their_publishers_give(name: str, total: float, active: float) -> None:
    shape = shapes()[name]
    assert shape.total_parameters == pytest.approx(total, rel=0.002)
    assert shape.active_parameters == pytest.approx(active, rel=0.005)
