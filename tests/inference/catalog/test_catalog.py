"""The shipped presets against the figures they were written from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from appliance.env import load
from inference.catalog.architecture import DeepseekV2
from inference.catalog.errors import NoProfile, UnknownPreset
from inference.catalog.flags import flags_for, profile_for, profile_names
from inference.catalog.hardware import HARDWARE
from inference.catalog.load import catalog, preset
from inference.catalog.preset import Preset, Profile
from ops.slots.install import ensure_slot
from ops.slots.lock import read_lock

GB = 1_000_000_000
PRESETS = [
    "deepseek-coder-v2-instruct",
    "deepseek-coder-v2-lite-base",
    "deepseek-coder-v2-lite-instruct",
    "deepseek-v2-chat",
    "smollm2-135m-instruct",
]
EVERY_PROFILE = [(name, profile) for name in PRESETS for profile in profile_names(preset(name))]


def test_the_catalog_holds_these_models() -> None:
    assert sorted(catalog()) == PRESETS


@pytest.mark.parametrize(
    ("name", "total", "active", "routed", "kv_bf16"),
    [
        ("deepseek-coder-v2-instruct", 235.74e9, 20.85e9, 222.7e9, 69_120),
        ("deepseek-v2-chat", 235.74e9, 20.85e9, 222.7e9, 69_120),
        ("deepseek-coder-v2-lite-instruct", 15.71e9, 2.45e9, 14.4e9, 31_104),
        ("deepseek-coder-v2-lite-base", 15.71e9, 2.45e9, 14.4e9, 31_104),
        ("smollm2-135m-instruct", 134.5e6, 134.5e6, 0, 23_040),
    ],
)
def test_derived_sizes_agree_with_the_published_ones(
    name: str, total: float, active: float, routed: float, kv_bf16: int
) -> None:
    shape = preset(name).architecture
    assert shape.total_parameters == pytest.approx(total, rel=0.001)
    assert shape.active_parameters == pytest.approx(active, rel=0.001)
    assert shape.routed_parameters == pytest.approx(routed, rel=0.001)
    assert preset(name).kv_bytes_per_token() == kv_bf16
    assert preset(name).kv_bytes_per_token(1) == kv_bf16 // 2


@pytest.mark.parametrize("name", PRESETS)
def test_bf16_weights_weigh_two_bytes_a_parameter(name: str) -> None:
    model = preset(name)
    assert model.weight_gb["bf16"] == pytest.approx(model.architecture.total_parameters * 2 / GB, rel=0.01)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("card", HARDWARE)
def test_every_kind_of_hardware_has_flags_or_a_reason(name: str, card: str) -> None:
    model = preset(name)
    if card in profile_names(model):
        assert "--max-num-seqs" in flags_for(model, card)
        return
    with pytest.raises(NoProfile, match=f"can't be served on {card}: "):
        flags_for(model, card)


@pytest.mark.parametrize(("name", "asked"), EVERY_PROFILE)
def test_weights_and_one_full_context_fit_the_cards(name: str, asked: str) -> None:
    model, profile = preset(name), profile_for(preset(name), asked)
    card = HARDWARE[asked.partition(":")[0]]
    if card.memory_bytes:
        assert weight_bytes_per_card(model, profile) + context_bytes(model, profile) < card.usable_bytes


def weight_bytes_per_card(model: Preset, profile: Profile) -> float:
    """Attention and dense parts are split by tensor parallelism alone, routed experts over all cards with EP."""
    shape = model.architecture
    per_parameter = model.weight_gb[profile.precision] * GB / shape.total_parameters
    expert_ways = profile.devices if profile.expert_parallel else profile.tensor_parallel
    other = shape.total_parameters - shape.routed_parameters
    return per_parameter * (shape.routed_parameters / expert_ways + other / profile.tensor_parallel)


def context_bytes(model: Preset, profile: Profile) -> float:
    element = 1 if profile.kv_cache_dtype == "fp8" else 2
    return profile.max_model_len * model.kv_bytes_per_token(element) / profile.decode_context_parallel


@pytest.mark.parametrize(("name", "asked"), EVERY_PROFILE)
def test_fp8_is_only_asked_of_cards_that_have_it(name: str, asked: str) -> None:
    profile = profile_for(preset(name), asked)
    wants_fp8 = profile.precision.startswith("fp8") or profile.kv_cache_dtype == "fp8"
    assert not wants_fp8 or HARDWARE[asked.partition(":")[0]].fp8


@pytest.mark.parametrize("name", PRESETS)
def test_no_adapter_may_touch_kv_b_proj(name: str) -> None:
    assert not [target for target in preset(name).lora.targets if "kv_b_proj" in target]


def test_adapters_and_expert_parallelism_never_meet() -> None:
    for name, asked in EVERY_PROFILE:
        flags = flags_for(preset(name), asked)
        assert not {"--enable-lora", "--enable-expert-parallel"} <= set(flags)


def test_ascend_keeps_to_what_its_graphs_can_do() -> None:
    for name, asked in EVERY_PROFILE:
        profile, shape = profile_for(preset(name), asked), preset(name).architecture
        if asked.startswith("910b") and isinstance(shape, DeepseekV2):
            heads = shape.heads // profile.tensor_parallel
            assert heads in (32, 64, 128) or "--enforce-eager" in profile.flags


def test_the_big_model_in_bf16_needs_80_gb_cards() -> None:
    for asked in ("910b2", "910b3", "l40s"):
        assert profile_for(preset("deepseek-coder-v2-instruct"), asked).precision != "bf16"
    with pytest.raises(NoProfile, match="8x64 GB"):
        flags_for(preset("deepseek-coder-v2-instruct"), "910b4")


def test_the_throughput_profile_is_the_published_one() -> None:
    assert flags_for(preset("deepseek-coder-v2-instruct"), "h20-141") == (
        *("--data-parallel-size", "8", "--kv-cache-dtype", "fp8"),
        *("--max-num-seqs", "128", "--max-num-batched-tokens", "16384", "--enable-expert-parallel"),
    )


def test_fill_in_the_middle_is_served_by_lite_base_alone() -> None:
    served = [name for name, model in catalog().items() if model.fim and model.fim.served]
    assert served == ["deepseek-coder-v2-lite-base"]
    fim = preset(served[0]).fim
    assert fim is not None
    assert fim.render("a", "b") == (
        "<\uff5cfim\u2581begin\uff5c>a<\uff5cfim\u2581hole\uff5c>b<\uff5cfim\u2581end\uff5c>"
    )


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("deepseek")])
def test_deepseek_ids_and_prompts_are_as_clients_expect(name: str) -> None:
    model = preset(name)
    assert "deepseek" in model.served_as  # a client chooses its template by this word
    assert model.context.default == 32_768
    assert model.licence.use_restricted
    if model.chat:
        assert model.chat.generation_prompt == "Assistant:"
        assert not model.chat.tools


def test_it_names_the_presets_and_profiles_there_are() -> None:
    with pytest.raises(UnknownPreset, match="smollm2-135m-instruct"):
        preset("gpt-5")
    with pytest.raises(NoProfile, match=r"no profile l40s:lora: there are .*h200:lora"):
        flags_for(preset("deepseek-coder-v2-instruct"), "l40s:lora")


PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for argv in json.load(sys.stdin):
    parser.parse_args(argv)
"""


@pytest.mark.engine
def test_the_real_engine_knows_every_flag(tmp_path: Path) -> None:
    # "ascend" is a quantization that only the Ascend plug-in registers.
    argvs = {flags_for(preset(name), asked) for name, asked in EVERY_PROFILE if not asked.startswith("910b")}
    python = ensure_slot(read_lock("cpu"), load().cache_dir).python
    parsed = subprocess.run(
        [str(python), "-I", "-c", PARSE],
        input=json.dumps(sorted(argvs)),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert parsed.returncode == 0, parsed.stderr[-2000:]
