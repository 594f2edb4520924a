"""The planner's answers: the worked statements about the contract, refusals with their reasons, and what must hold for all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference.capacity.answer import Answer
from inference.capacity.errors import BadQuestion
from inference.capacity.plan import plan
from inference.capacity.question import CONTRACT, Question, Target
from inference.capacity.rates import Outlook
from inference.capacity.replica import Limit
from inference.capacity.speeds import SPEEDS
from inference.catalog.hardware import HARDWARE
from inference.catalog.load import catalog
from tests.inference.capacity.asking import CODER, LITE, ask


def required(answer: Answer) -> list[float]:
    return [row.required_efficiency for row in answer.contract]


def test_every_card_of_the_catalog_has_speeds() -> None:
    assert SPEEDS.keys() == HARDWARE.keys() - {"cpu"}


def test_in_bf16_eight_h20_have_less_than_the_contract_needs() -> None:
    row = ask("8xH20-96", "bf16").contract[0]
    assert row.required_efficiency * 8 * 148e12 == pytest.approx(1.33e15, rel=0.005)
    assert row.required_efficiency == pytest.approx(1.33 / 1.184, rel=0.005)
    assert (row.feasible, row.binding_limit) == (False, Limit.COMPUTE)


def test_in_fp8_eight_h20_would_need_more_than_anyone_has_published() -> None:
    answer = ask("8xH20-96", "fp8")
    assert required(answer) == pytest.approx([0.56, 0.74], abs=0.005)
    assert [row.feasible for row in answer.contract] == [False, False]
    assert (answer.published.prefill, answer.published.decode) == (0.58, 0.38)
    assert all(row.predicted_efficiency < row.required_efficiency for row in answer.contract)
    assert {row.outlook for row in answer.contract} == {Outlook.UNLIKELY}
    assert [row.sequences for row in answer.contract] == pytest.approx([250, 500])


@pytest.mark.parametrize("hardware", ["8xH200", "8xH800"])
def test_in_fp8_h200_and_h800_need_a_tenth_of_their_peak(hardware: str) -> None:
    assert required(ask(hardware, "fp8")) == pytest.approx([0.084, 0.11], abs=0.0005)


def test_in_fp8_eight_h200_just_do_the_smaller_pair_and_separate_phases_do_both() -> None:
    stock, tuned = ask("8xH200", "fp8"), ask("8xH200", "fp8", engine="separate")
    assert [row.outlook for row in stock.contract] == [Outlook.POSSIBLE, Outlook.DOUBTFUL]
    assert [row.outlook for row in tuned.contract] == [Outlook.LIKELY, Outlook.LIKELY]
    assert (stock.calibrated.engine, stock.calibrated.parallelism) == ("current", "experts spread")


@pytest.mark.parametrize("hardware", ["8xH20-96", "8xH800", "8xH100", "8xH200"])
def test_lite_does_the_contract_on_any_hopper_box(hardware: str) -> None:
    answer = ask(hardware, "bf16", LITE)
    assert [row.feasible for row in answer.contract] == [True, True]
    assert (answer.layout.replicas, answer.recommended.profile) == (8, hardware[2:].lower())


def test_an_older_engine_is_slower_and_the_published_best_is_shown_beside() -> None:
    rates = [ask("8xH100", "fp8", engine=kind).together.requests_per_s for kind in ("2024", "current", "separate")]
    assert rates == sorted(rates)
    assert rates[0] < rates[1] < rates[2]


def test_every_rate_has_an_interval_that_holds_it_and_ends_where_physics_does() -> None:
    answer = ask("8xH20-96", "fp8")
    assert 1.5 < answer.calibrated.interval_factor <= 2
    assert answer.prefill.ceiling_tps == pytest.approx(8 * 296e12 / 45.57e9, rel=0.01)
    for rate, within, ceiling in (
        (answer.prefill.tokens_per_s, answer.prefill.interval, answer.prefill.ceiling_tps),
        (answer.decode.tokens_per_s, answer.decode.interval, answer.decode.ceiling_tps),
        (answer.together.requests_per_s, answer.together.interval, answer.together.ceiling_rps),
    ):
        assert within.low < rate < within.high <= ceiling
        assert within.high / within.low <= 4


def test_lite_in_bf16_on_l40s_spends_the_time_of_a_token_on_reading_weights() -> None:
    slow, fast = ask("8xL40S", "bf16", LITE), ask("8xL40S", "fp8", LITE)
    assert [(row.feasible, row.binding_limit) for row in slow.contract] == [(False, Limit.BANDWIDTH)] * 2
    assert fast.decode.tokens_per_s > 5 * slow.decode.tokens_per_s


def test_in_bf16_it_does_not_fit_eight_cards_of_64_gb() -> None:
    answer = ask("8x910b3", "bf16")
    assert (answer.possible, answer.binding_limit) == (False, Limit.WEIGHTS_MEMORY)
    assert answer.reason is not None
    for figure in ("471.5 GB", "58.9 GB", "54.9 GB", "0.92 x 64 - 4"):
        assert figure in answer.reason
    assert (answer.decode.tokens_per_s, answer.prefill.tokens_per_s, answer.kv.sequences) == (0, 0, 0)
    assert {row.binding_limit for row in answer.contract} == {Limit.WEIGHTS_MEMORY}
    assert "w8a8" in answer.recommended.note
    assert answer.nearest == "8x910b3 in w8a8"


def test_decode_is_bound_by_compute_on_an_h20_and_more_memory_does_not_help() -> None:
    small, large = ask("8xH20-96", "fp8"), ask("8xH20-141", "fp8")
    assert small.decode.limit is Limit.COMPUTE
    assert large.kv.sequences > 1.9 * small.kv.sequences
    assert large.decode.tokens_per_s == pytest.approx(small.decode.tokens_per_s, rel=0.01)


def test_it_names_each_limit_where_it_binds() -> None:
    assert ask("8xH20-96", "bf16", tpot_ms=400).decode.limit is Limit.KV_MEMORY
    assert ask("8xL40S", "fp8").decode.limit is Limit.BANDWIDTH
    assert ask("8xL40S", "fp8").prefill.limit is Limit.COMMUNICATION
    # Compute would do for the pair, so it is not what stops it.
    row = ask("1xL40S", "fp8", LITE).contract[0]
    assert (row.required_efficiency < 1, row.feasible, row.binding_limit) == (True, False, Limit.BANDWIDTH)


def test_it_plans_the_profile_that_would_be_served() -> None:
    answer = ask("8xH20-96", "fp8")
    assert (answer.layout.data_parallel, answer.layout.expert_parallel, answer.layout.kv_element_bytes) == (8, True, 1)
    assert (answer.recommended.profile, answer.recommended.max_sequences) == ("h20-96", 512)
    assert answer.kv.bytes_per_token == 34_560
    assert ask("16xH20-96", "fp8").recommended.max_sequences == 1024


def test_long_contexts_have_a_profile_of_their_own_or_none() -> None:
    assert ask("8xH200", "fp8", input_tokens=60_000).recommended.profile == "h200:128k"
    short = ask("8xA100", "bf16", input_tokens=60_000)
    assert short.recommended.profile is None
    assert "stop at 8192" in short.recommended.note


def test_the_catalogs_reason_against_a_card_is_passed_on() -> None:
    answer = ask("8x910b4", "w8a8")
    assert not answer.possible
    assert "even 8-bit weights (237 GB)" in answer.recommended.note


def test_it_says_when_one_sequence_is_too_long_or_too_slow() -> None:
    long = ask("8xL40S", "fp8", input_tokens=120_000, output_tokens=10_000, model=LITE)
    assert long.possible
    too_long = ask("1x910b3", "bf16", LITE, input_tokens=120_000, output_tokens=10_000)
    assert too_long.possible
    tight = ask("8xH20-96", "fp8", tpot_ms=3)
    assert not tight.possible
    assert tight.reason is not None
    assert "3 ms were asked" in tight.reason
    assert tight.together.requests_per_s == 0
    full = ask("8xL40S", "fp8", input_tokens=121_000, output_tokens=10_000)
    # 10.5 GB beside the weights: one sequence of this length, on the one cache that all ranks hold alike.
    assert (full.kv.sequences, full.decode.limit) == (1, Limit.KV_MEMORY)


def test_more_context_than_the_cache_holds_is_an_answer_with_the_arithmetic() -> None:
    answer = ask("2xH200", "w8a8", input_tokens=120_000)
    assert (answer.possible, answer.binding_limit) == (False, Limit.KV_MEMORY)
    assert answer.reason is not None
    assert "one sequence takes 121000" in answer.reason
    assert answer.nearest is not None
    assert (answer.prefill.tokens_per_s, answer.decode.tokens_per_s) == (0, 0)


@pytest.mark.parametrize(
    ("question", "named"),
    [
        (Question("gpt-2", "8xH200", "fp8"), ["no model 'gpt-2'", CODER, "smollm2-135m-instruct"]),
        (Question(CODER, "8xB200", "fp8"), ["no speeds are known for 'b200'", "h20-96", "910b4"]),
        (Question(CODER, "cpu", "fp8"), ["8xH20-96"]),
        (Question(CODER, "1xcpu", "bf16"), ["no speeds are known for 'cpu'"]),
        (Question(CODER, "0xH200", "fp8"), ["number and card"]),
        (Question(CODER, "65xH200", "fp8"), ["at most 64"]),
        (Question(CODER, "8xH200", "fp4"), ["no precision 'fp4'", "did you mean fp8?", "int4-experts"]),
        (Question("deepseek-coder-v2-instuct", "8xH200", "fp8"), [f"did you mean {CODER}?"]),
        (Question(CODER, "8xH20", "fp8"), ["did you mean h200?", "h20-96"]),
        (Question(CODER, "8xH200", "fp8", engine="vllm"), ["no engine 'vllm'", "current, 2024, separate"]),
        (Question(CODER, "8xA100", "fp8"), ["can't be served in fp8 on a100", "bf16, w8a8, int4-experts"]),
        (Question("smollm2-135m-instruct", "1xA100", "w8a8"), ["can't be served in w8a8", "there are bf16"]),
        (Question(CODER, "4xH200", "fp8"), ["takes 8 cards", "4 are too few"]),
        (Question(CODER, "8xH200", "fp8", input_tokens=0), ["input tokens"]),
        (Question(CODER, "8xH200", "fp8", output_tokens=0), ["output tokens"]),
        (Question(CODER, "8xH200", "fp8", input_tokens=131_000), ["131072"]),
        (Question(CODER, "8xH200", "fp8", hit_rate=1.0), ["below 1"]),
        (Question(CODER, "8xH200", "fp8", hit_rate=float("nan")), ["below 1"]),
        (Question(CODER, "8xH200", "fp8", tpot_ms=0), ["above 0 ms"]),
        (Question(CODER, "8xH200", "fp8", tpot_ms=float("inf")), ["above 0 ms"]),
        (Question(CODER, "8xH200", "fp8", targets=(Target(-1, 5),)), ["negative"]),
    ],
    ids=lambda value: None if isinstance(value, list) else "-".join((value.model, value.hardware, value.precision)),
)
def test_it_refuses_what_does_not_exist_and_names_what_does(question: Question, named: list[str]) -> None:
    with pytest.raises(BadQuestion) as refused:
        plan(question)
    for part in named:
        assert part in str(refused.value)


def test_it_tells_all_faults_at_once() -> None:
    with pytest.raises(BadQuestion) as refused:
        plan(Question("gpt-2", "8xB200", "fp4", tpot_ms=-1))
    assert len(refused.value.faults) == 4


@st.composite
def questions(draw: st.DrawFn) -> Question:
    model = draw(st.sampled_from([CODER, LITE]))
    card = draw(st.sampled_from(sorted(SPEEDS)))
    precision = draw(st.sampled_from(["bf16", "fp8", "w8a8", "int4-experts"]))
    assume(precision != "fp8" or HARDWARE[card].fp8)
    return Question(
        model,
        f"{draw(st.integers(1, 24))}x{card}",
        precision,
        input_tokens=draw(st.integers(1, 60_000)),
        output_tokens=draw(st.integers(1, 8_000)),
        hit_rate=draw(st.floats(0, 0.99)),
        tpot_ms=draw(st.floats(2, 400)),
    )


def answered(question: Question) -> Answer:
    """Boxes below the catalog's profile are refused, and nothing is to be compared there."""
    try:
        return plan(question)
    except BadQuestion as refused:
        assert "too few" in str(refused)  # noqa: PT017 - any other refusal is a fault of this test
        assume(False)
        raise


def no_worse(worse: Answer, better: Answer) -> None:
    allowance = 1 + 1e-6
    assert worse.together.requests_per_s <= better.together.requests_per_s * allowance
    assert worse.possible <= better.possible
    if worse.recommended.profile or worse.layout == better.layout:
        # With a layout to choose, the asked mixture decides; with the catalog's, nothing may fall.
        assert worse.decode.tokens_per_s <= better.decode.tokens_per_s * allowance
        assert worse.prefill.tokens_per_s <= better.prefill.tokens_per_s * allowance
        for one, other in zip(worse.contract, better.contract, strict=True):
            assert one.feasible <= other.feasible


@settings(max_examples=40, deadline=None)
@given(questions(), st.integers(1, 24))
def test_more_cards_are_never_worse(question: Question, more: int) -> None:
    number, _, card = question.hardware.partition("x")
    no_worse(answered(question), answered(replace(question, hardware=f"{int(number) + more}x{card}")))


@settings(max_examples=40, deadline=None)
@given(
    questions(),
    st.sampled_from([("h20-96", "h20-141"), ("h800", "h100"), ("h100", "h200"), ("a800", "a100"), ("910b3", "910b2")]),
)
def test_a_better_card_is_never_worse(question: Question, cards: tuple[str, str]) -> None:
    number = question.hardware.partition("x")[0]
    assume(question.precision != "fp8" or HARDWARE[cards[0]].fp8)
    worse, better = (answered(replace(question, hardware=f"{number}x{card}")) for card in cards)
    no_worse(worse, better)


@settings(max_examples=40, deadline=None)
@given(questions(), st.floats(0, 1))
def test_a_higher_hit_rate_is_never_worse(question: Question, part: float) -> None:
    higher = question.hit_rate + part * (0.99 - question.hit_rate)
    no_worse(answered(question), answered(replace(question, hit_rate=higher)))


@settings(max_examples=40, deadline=None)
@given(questions(), st.integers(0, 60_000), st.integers(0, 2_000))
def test_a_longer_context_is_never_better(question: Question, more_input: int, more_output: int) -> None:
    longer = replace(
        question,
        input_tokens=question.input_tokens + more_input,
        output_tokens=question.output_tokens + more_output,
    )
    no_worse(answered(longer), answered(question))


@settings(max_examples=40, deadline=None)
@given(questions(), st.floats(0, 400))
def test_more_time_a_token_is_never_worse(question: Question, more: float) -> None:
    no_worse(answered(question), answered(replace(question, tpot_ms=question.tpot_ms + more)))


@settings(max_examples=40, deadline=None)
@given(questions())
def test_what_is_feasible_stays_within_the_box(question: Question) -> None:
    asked = replace(question, targets=(*CONTRACT, Target(500, 100)))
    answer = answered(asked)
    falling = [point.output_tps for point in answer.frontier]
    assert falling == sorted(falling, reverse=True)
    for row in answer.contract:
        if row.feasible:
            assert row.required_efficiency <= row.predicted_efficiency * (1 + 1e-6)
            assert row.outlook in (Outlook.LIKELY, Outlook.POSSIBLE)
            assert row.output_tps <= answer.decode.tokens_per_s
            assert row.input_tps <= answer.prefill.tokens_per_s
        assert row.predicted_efficiency <= 1
        assert row.reached_interval.low <= row.reached <= row.reached_interval.high
    for rate, within, ceiling in (
        (answer.prefill.tokens_per_s, answer.prefill.interval, answer.prefill.ceiling_tps),
        (answer.decode.tokens_per_s, answer.decode.interval, answer.decode.ceiling_tps),
    ):
        assert within.low <= rate <= within.high <= ceiling * (1 + 1e-6) or not rate
    held = answer.kv.bytes_per_token * answer.kv.tokens / answer.layout.replicas / answer.layout.cards_per_replica
    assert not answer.possible or held <= (answer.weights.usable_per_card_gb - answer.weights.per_card_gb) * 1e9 + 1e6
    if answer.possible:
        both = Target(answer.together.input_tps * 0.999, answer.together.output_tps * 0.999)
        assert answered(replace(asked, targets=(both,))).contract[0].feasible


def test_every_model_with_a_profile_can_be_planned() -> None:
    for name, preset in catalog().items():
        for profile in preset.profiles:
            for card in profile.hardware:
                if card in SPEEDS and not profile.variant:
                    precision = profile.precision.partition("-")[0]
                    answer = ask(f"{profile.devices}x{card}", precision, name)
                    assert answer.possible, (name, card)
                    assert answer.recommended.profile == card
