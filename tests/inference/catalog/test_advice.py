"""What an operator's flags amount to, and which combinations are refused with which way out."""

from __future__ import annotations

import pytest

from inference.catalog import memory
from inference.catalog.advice import Room, nearest, refuse
from inference.catalog.combination import faults_of
from inference.catalog.errors import BadFlags, CannotRun
from inference.catalog.flags import flags_for, profile_for, profile_names
from inference.catalog.hardware import HARDWARE
from inference.catalog.load import preset
from inference.catalog.run import Run, of_flags, of_profile

BIG, LITE, DEMO = "deepseek-coder-v2-instruct", "deepseek-coder-v2-lite-instruct", "smollm2-135m-instruct"
EVERY_PROFILE = [(name, profile) for name in (BIG, LITE, DEMO) for profile in profile_names(preset(name))]


@pytest.mark.parametrize(("name", "asked"), EVERY_PROFILE)
def test_a_profiles_own_flags_are_read_as_the_profile_and_let_through(name: str, asked: str) -> None:
    profile = profile_for(preset(name), asked)
    stored_as = "bf16" if profile.precision == "fp8-tensor" else profile.precision
    run = of_flags(flags_for(preset(name), asked), profile.devices, stored_as, profile.max_model_len)
    assert run == of_profile(profile)
    refuse(preset(name), asked.partition(":")[0], run)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"tensor_parallel": 8}),
        (["-tp", "4", "-dp=2"], {"tensor_parallel": 4, "data_parallel": 2}),
        (["--data_parallel_size", "8", "-ep"], {"tensor_parallel": 1, "data_parallel": 8, "expert_parallel": True}),
        (["-ep", "--no-enable-expert-parallel"], {"expert_parallel": False}),
        (["--tensor-parallel-size=2", "--tensor-parallel-size=8"], {"tensor_parallel": 8}),
        (["--enable-lora"], {"lora_rank": 16}),
        (["--max-lora-rank", "64"], {"lora_rank": 0}),
        (["--lora-target-modules", "q_proj", "o_proj", "--enforce-eager"], {"lora_modules": ("q_proj", "o_proj")}),
        (["-q", "fp8"], {"precision": "fp8-tensor"}),
    ],
)
def test_flags_are_read_in_every_spelling(flags: list[str], expected: dict[str, object]) -> None:
    run = of_flags(flags, 8, "bf16", 4096)
    assert {name: getattr(run, name) for name in expected} == expected


@pytest.mark.parametrize("flag", ["-tp=0", "-tp=many", "-tp", "--max-lora-rank=-1"])
def test_a_number_that_is_none_is_named(flag: str) -> None:
    with pytest.raises(BadFlags, match="must be a whole number"):
        of_flags([flag, "--enable-lora"], 8, "bf16", 4096)


def run(precision: str = "bf16", devices: int = 8, context: int = 8192, **given: object) -> Run:
    """An engine over all its devices, tensor parallel unless something else is said."""
    split = {} if "data_parallel" in given else {"tensor_parallel": devices}
    return Run(devices, precision, context, **(split | given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "card", "asked", "reason"),
    [
        (BIG, "h20-96", run("fp8-block"), "block-wise fp8 can't split experts 8 ways: 1536 rows / 8"),
        (BIG, "h20-96", run("fp8-block", data_parallel=8), "block-wise fp8 can't split experts 8 ways"),
        (LITE, "h800", run("fp8-block", 2), "1408 rows / 2 is no multiple of 128"),
        (LITE, "h800", run("bf16", 1, lora_rank=64), "adapters of rank 64"),
        (BIG, "h800", run("fp8-tensor", lora_rank=32, expert_parallel=True), "adapters and expert parallelism exclude"),
        (LITE, "h800", run("bf16", 1, lora_rank=16, lora_modules=("o_proj", "kv_b_proj")), "kv_b_proj is silently"),
        (BIG, "910b3", run("w8a8", expert_parallel=True), "128 split 8 ways are 16: add --enforce-eager"),
        (LITE, "910b3", run("bf16", 1), "16 split 1 ways are 16: add --enforce-eager"),
        (BIG, "a100", run("fp8-tensor"), "a100 has no fp8 arithmetic"),
        (LITE, "cpu", run("bf16", 1, lora_rank=16), "adapters on MoE layers end a CPU engine"),
        (BIG, "h800", run("bf16", devices=4, data_parallel=8), "4 devices an engine, but tensor parallel 1 x data"),
        (BIG, "h800", run("bf16", tensor_parallel=4, data_parallel=2, decode_context_parallel=8), "must divide tensor"),
        (LITE, "h800", run("bf16", 3), "16 attention heads can't be split 3 ways"),
        (BIG, "h800", run("fp8-tensor", speculative='{"method": "deepseek_mtp"}'), "no layers for multi-token"),
        (BIG, "h800", run("fp8-block", devices=16), "does not stay within one box"),
        (DEMO, "h800", run("bf16", 1, expert_parallel=True), "needs a model with experts"),
    ],
)
def test_a_combination_known_not_to_work_says_why(model: str, card: str, asked: Run, reason: str) -> None:
    with pytest.raises(CannotRun, match=r"can't run so on") as refusal:
        refuse(preset(model), card, asked)
    assert reason in str(refusal.value)


def test_what_comes_nearest_keeps_what_was_meant() -> None:
    with pytest.raises(CannotRun) as refusal:
        refuse(preset(BIG), "h20-96", run("fp8-tensor", stored_as="bf16", lora_rank=16, expert_parallel=True))
    assert str(refusal.value).endswith(
        "The nearest that does: --profile h20-96:lora (fp8-tensor, 8 devices, tensor parallel 8, adapters up to rank 32, "
        "32768 tokens of context)."
    )
    plain = nearest(preset(BIG), "h20-96", run("fp8-block"))
    long = nearest(preset(BIG), "h20-96", run("fp8-block", context=100_000))
    assert (plain and plain.variant, long and long.variant) == ("", "128k")


def test_without_any_profile_it_says_so() -> None:
    with pytest.raises(CannotRun, match="No profile of the catalog serves it on 910b4"):
        refuse(preset(BIG), "910b4", run("bf16", enforce_eager=True))


def test_the_236b_in_bf16_is_refused_on_eight_64_gb_cards_with_the_arithmetic() -> None:
    with pytest.raises(CannotRun) as refusal:
        refuse(preset(BIG), "910b3", run("bf16", enforce_eager=True, decode_context_parallel=8))
    # 471.5 GB over 8 cards, 8192 tokens of 69,120 bytes over 8 ranks; 0.92 x 64 GB - 4 GB
    assert "58.9 GB of weights a card + 0.1 GB of cache for 1 with 8192 tokens = 59.0 GB" in str(refusal.value)
    assert "a card of 64.0 GB leaves 54.9 GB (92% of it, less 4.0 GB)" in str(refusal.value)
    assert "--profile 910b3 (w8a8" in str(refusal.value)


def test_more_sequences_at_once_need_more_memory() -> None:
    asked = of_profile(profile_for(preset(LITE), "l40s"))  # 31.4 GB of weights on a card of 48
    need = memory.need_of(preset(LITE), asked)
    fitting = int((HARDWARE["l40s"].usable_bytes - need.weights) // need.sequence)
    refuse(preset(LITE), "l40s", asked, Room(sequences=fitting))
    with pytest.raises(CannotRun, match=f"of cache for {fitting + 1} with 32768 tokens"):
        refuse(preset(LITE), "l40s", asked, Room(sequences=fitting + 1))


def test_sequences_spread_over_data_parallel_ranks() -> None:
    asked = of_profile(profile_for(preset(BIG), "h20-96"))
    need = memory.need_of(preset(BIG), asked)
    each = int((HARDWARE["h20-96"].usable_bytes - need.weights) // need.sequence)
    assert memory.shortage(need, asked, HARDWARE["h20-96"].memory_bytes, 8 * each) is None
    told = memory.shortage(need, asked, HARDWARE["h20-96"].memory_bytes, 8 * each + 1)
    assert told
    assert f"for {each + 1} of the {8 * each + 1} at once" in told


def test_the_cards_real_memory_counts() -> None:
    asked = of_profile(profile_for(preset(LITE), "h20-96"))
    with pytest.raises(CannotRun, match=r"a card of 24\.0 GB leaves"):
        refuse(preset(LITE), "h20-96", asked, Room(memory_bytes=24_000_000_000))


def test_nothing_is_held_against_what_the_catalog_does_not_know() -> None:
    odd = run("", 1, lora_rank=0)
    assert list(faults_of(preset(LITE), "h800", odd)) == []
    refuse(preset(LITE), "h800", odd)


def test_what_comes_nearest_can_run_this_checkpoint() -> None:
    with pytest.raises(CannotRun) as refusal:
        refuse(preset(BIG), "h800", run("bf16", data_parallel=8, expert_parallel=True))
    told = str(refusal.value)
    assert "fp8-block" not in told, "sixteen-bit weights never become block-wise fp8 ones"
    assert "The nearest that does: --profile h800:" in told
    for_blocks = nearest(preset(BIG), "h20-96", run("fp8-block", lora_rank=16, expert_parallel=True))
    assert for_blocks
    assert not for_blocks.lora_rank, "the profile for adapters cuts the blocks"
    with pytest.raises(CannotRun, match="No profile for 910b3 serves these weights; with weights in w8a8 does"):
        refuse(preset(BIG), "910b3", run("bf16", enforce_eager=True))


def test_an_unknown_precision_is_as_large_as_its_files() -> None:
    odd = run("", 1, data_parallel=1)
    with pytest.raises(CannotRun, match=r"236\.0 GB of weights a card"):
        refuse(preset(BIG), "h20-96", odd, Room(stored_bytes=236_000_000_000))
    refuse(preset(BIG), "h20-96", odd, Room(stored_bytes=60_000_000_000))


@pytest.mark.parametrize(
    ("flag", "whole"),
    [
        ("--enable-expert", "--enable-expert-parallel"),
        ("--enable_lor=true", "--enable-lora"),
        ("--no-enable-exp", "--no-enable-expert-parallel"),
        ("--tensor-parallel=8", "--tensor-parallel-size"),
        ("-t=8", "--tensor-parallel-size"),
    ],
)
def test_a_flag_that_decides_something_must_be_written_out(flag: str, whole: str) -> None:
    with pytest.raises(BadFlags, match=whole):
        of_flags([flag], 8, "bf16", 4096)
    of_flags(["--max-num-seqs=8", "--seed=-1", "-tp=8", "--enable-lora"], 8, "bf16", 4096)
