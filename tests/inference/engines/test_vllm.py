"""vLLM's command line, environment, counters and latencies."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from inference.devices import DeviceInfo
from inference.engines import engine_kind, vllm
from inference.engines.errors import ListMalformed, MetricsMalformed, SpecRefused, UnknownEngineKind
from inference.engines.spec import EngineSpec
from inference.gateway.values import MAX_STOP

CPUS = tuple(DeviceInfo(f"cpu:{n}", "cpu", "CPU", 1, cores=(2 * n, 2 * n + 1)) for n in range(2))
CARDS = tuple(DeviceInfo(f"nvidia:{n}", "nvidia", "H20", 1) for n in (4, 5))
SPEC = EngineSpec(
    slot_python=Path("/slot/bin/python"),
    model="lite",
    model_path=Path("/models/lite"),
    max_model_len=4096,
    flags=("--max-num-seqs", "32"),
    devices=CPUS,
    socket=Path("/run/x.sock"),
    home=Path("/data/home"),
    cache=Path("/data/cache"),
    scratch=Path("/run/x.d"),
    shutdown_timeout_s=8,
)
PAGE = """\
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="a, b}"} 120.0
vllm:prompt_tokens_total{engine="1",model_name="lite"} 1e+06
vllm:prompt_tokens_created{engine="0",model_name="lite"} 1.79e+09
vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 7.0
vllm:generation_tokens_total{engine="0",model_name="lite"} 24.0
vllm:num_requests_running{engine="0",model_name="lite"} 2.0
vllm:num_requests_waiting{engine="0",model_name="lite"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="lite"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="lite"} 0.5
process_cpu_seconds_total 3.0
"""
# two parts of an engine; of the five ended requests three had one token, for which vLLM observes 0 s a token
LATENCIES = """\
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="x,le=\\"9\\""} 2.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="m"} 4.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 4.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 4.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.1",model_name="m"} 0.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.5",model_name="m"} 0.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="m"} 1.0
vllm:request_time_per_output_token_seconds_bucket{engine="0",le="0.025",model_name="m"} 3.0
vllm:request_time_per_output_token_seconds_bucket{engine="0",le="0.05",model_name="m"} 5.0
vllm:request_time_per_output_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 5.0
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.025",model_name="m"} 900.0
vllm:request_generation_tokens_bucket{engine="0",le="1.0",model_name="m"} 3.0
vllm:request_generation_tokens_bucket{engine="0",le="2.0",model_name="m"} 4.0
vllm:request_generation_tokens_bucket{engine="0",le="+Inf",model_name="m"} 5.0
"""


def test_it_serves_on_a_socket_and_never_on_a_port():
    argv = vllm.command(SPEC)
    assert argv[:5] == ["/slot/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--uds", "/run/x.sock"]
    assert not {"--host", "--port"} & set(argv)


def test_it_asks_for_what_metering_and_draining_need():
    line = " ".join(vllm.command(SPEC))
    for part in (
        "--model /models/lite --served-model-name lite --max-model-len 4096",
        "--scheduling-policy priority",
        "--enable-prompt-tokens-details",
        "--enable-scale-out",
        "--generation-config vllm",
        "--shutdown-timeout 8",
    ):
        assert part in line
    assert line.endswith("--max-num-seqs 32")


def test_it_binds_a_cpu_engine_to_its_own_cores():
    environment = vllm.environment(SPEC)
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "0,1,2,3"
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "--enforce-eager --dtype bfloat16" in " ".join(vllm.command(SPEC))


def test_it_spreads_over_the_cards_it_was_given():
    spec = replace(SPEC, devices=CARDS)
    assert vllm.environment(spec)["CUDA_VISIBLE_DEVICES"] == "4,5"
    assert vllm.environment(spec)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "as NVML counts them"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in vllm.environment(spec)
    assert "--tensor-parallel-size 2" in " ".join(vllm.command(spec))
    chips = tuple(DeviceInfo(f"ascend:{n}", "ascend", "Ascend 910B3", 1) for n in (1, 15))
    environment = vllm.environment(replace(spec, devices=chips))
    assert environment["ASCEND_RT_VISIBLE_DEVICES"] == "1,15"
    assert "CUDA_VISIBLE_DEVICES" not in environment


def test_it_tells_how_much_of_a_card_it_takes():
    assert vllm.memory_share(()) == 0.9
    assert vllm.memory_share(("--gpu-memory-utilization", "0.5", "--enable-lora")) == 0.5
    assert vllm.memory_share(("--gpu_memory_utilization=0.7",)) == 0.7
    assert vllm.memory_share(("--gpu-memory-utilization=much",)) == 0.9


@pytest.mark.parametrize(
    "flag",
    ["--data-parallel-size", "--tensor-parallel-size=2", "-dp=2", "-tp=2", "--data_parallel_size=2", "--tensor-par=2"],
)
def test_it_leaves_the_parallelism_to_the_preset_that_states_it(flag):
    argv = vllm.command(replace(SPEC, devices=CARDS, flags=(flag,)))
    assert argv.pop() == flag
    assert not [word for word in argv if "parallel" in word]


def test_it_keeps_engines_offline_and_silent():
    environment = vllm.environment(SPEC)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        assert environment[name] == "1"


def test_it_hands_no_secret_on(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("HOME", "/root")
    environment = vllm.environment(SPEC)
    assert "DATABASE_URL" not in environment
    assert environment["HOME"] == "/data/home"


@pytest.mark.parametrize(
    ("flags", "rank"),
    [
        ((), 0),
        (("--max-lora-rank", "32"), 0),
        (("--enable-lora",), 16),
        (("--enable-lora", "--max-lora-rank", "32", "--max-loras=4"), 32),
        (("--enable_lora", "--max_lora_rank=8"), 8),
        (("--enable-lora", "--no-enable-lora"), 0),
        (("--enable-lora", "--max-lora-rank"), 16),
    ],
)
def test_it_takes_adapters_at_run_time_only_where_the_flags_say_so(flags, rank):
    assert vllm.max_adapter_rank(flags) == rank
    environment = vllm.environment(replace(SPEC, flags=flags))
    assert environment.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == ("True" if rank else None)


def test_its_engines_take_as_many_stop_strings_as_the_gateway_lets_through():
    assert vllm.environment(SPEC)["VLLM_MAX_STOP_STRINGS"] == str(MAX_STOP)


def test_it_knows_which_modules_the_flags_limit_adapters_to():
    assert vllm.adapted_modules(("--enable-lora", "--max-lora-rank", "8")) is None
    flags = ("--enable-lora", "--lora-target-modules", "q_proj", "k_proj", "--max-loras", "4")
    assert vllm.adapted_modules(flags) == {"q_proj", "k_proj"}
    assert vllm.adapted_modules(("--lora_target_modules=q_proj", "o_proj")) == {"q_proj", "o_proj"}


@pytest.mark.parametrize(
    ("flags", "pinnable"),
    [
        (("--enable-lora", "--max-loras=4", "--max-cpu-loras=16"), 12),
        (("--enable_lora", "--max_cpu_loras", "3"), 2),
        (("--enable-lora", "--max-loras", "4"), 0),
        (("--enable-lora",), 0),
        (("--max-loras=1", "--max-cpu-loras=9"), 0),
        (("--enable-lora", "--max-cpu-loras=9", "--max-cpu-loras=3", "--max-loras=2"), 1),
    ],
)
def test_as_many_places_as_a_batch_may_take_stay_free_of_pinned_adapters(flags, pinnable):
    assert vllm.pinnable_adapters(flags) == pinnable


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (("--enable-lora", "-tp", "4", "--max-loras", "2", "--seed", "1"), ("-tp", "4", "--seed", "1")),
        (("--lora_target_modules", "q_proj", "o_proj", "-q", "fp8", "--max-lora-rank=8"), ("-q", "fp8")),
        (("--dtype", "bfloat16", "--enable-lora"), ("--dtype", "bfloat16")),
    ],
)
def test_an_engine_that_is_to_take_no_adapters_keeps_all_its_other_flags(flags, kept):
    assert vllm.without_adapters(flags) == kept


def test_it_tells_an_engines_adapters_from_its_base_model():
    base = {"id": "lite", "root": "/models/lite", "parent": None}
    adapter = {"id": "ft:lite:acme:pay:1", "root": "/adapters/1", "parent": "lite"}
    assert vllm.parse_adapters({"data": [base, adapter]}) == {"ft:lite:acme:pay:1": "/adapters/1"}
    for nonsense in ({}, {"data": {}}, {"data": ["x"]}):
        with pytest.raises(ListMalformed):
            vllm.parse_adapters(nonsense)


@pytest.mark.parametrize(
    "flag",
    ["--host", "--port=1", "--uds", "--api_key", "--served-model-name", "--lora-modules", "--scheduling-policy=fcfs"],
)
def test_it_refuses_flags_that_the_pool_decides(flag):
    with pytest.raises(SpecRefused):
        vllm.command(replace(SPEC, flags=(flag,)))


def test_it_refuses_devices_it_does_not_know():
    with pytest.raises(SpecRefused):
        vllm.command(replace(SPEC, devices=(CPUS[0], CARDS[0])))


def test_it_adds_the_counters_up_over_an_engines_parts():
    counters = vllm.parse_counters(PAGE, at=5.0)
    assert (counters.prompt_tokens, counters.generation_tokens) == (1_000_120, 24)
    assert (counters.running, counters.waiting, counters.kv_usage, counters.at) == (2, 1, 0.5, 5.0)


def test_it_adds_the_latencies_up_over_an_engines_parts():
    ttft = vllm.parse_counters(PAGE + LATENCIES, 0).ttft
    assert ttft.buckets == ((0.1, 2), (0.5, 2), (math.inf, 1))


def test_it_leaves_requests_without_a_second_token_out_of_the_time_per_token():
    counters = vllm.parse_counters(PAGE + LATENCIES, 0)
    assert counters.single_token_requests == 3
    assert counters.tpot.buckets == ((0.025, 0), (0.05, 2), (math.inf, 0))


def test_it_does_without_latencies_that_make_no_sense():
    counters = vllm.parse_counters(PAGE + LATENCIES.replace('le="0.5",model_name="m"} 4.0', 'le="0.5"} 1.0'), 0)
    assert counters.ttft.total == 0
    assert counters.prompt_tokens == 1_000_120


@pytest.mark.parametrize(
    ("family", "promised"), [("time_to_first_token", {1, 1.5, 2}), ("inter_token_latency", {0.03, 0.05, 0.07})]
)
def test_it_asks_for_buckets_that_end_where_contracts_do(family, promised):
    argv = vllm.command(SPEC)
    bounds = json.loads(argv[argv.index("--custom-histogram-buckets") + 1])[family]
    assert promised <= set(bounds)
    assert bounds == sorted(set(bounds))


def test_it_does_without_the_gauges():
    page = "vllm:prompt_tokens_total 1\nvllm:generation_tokens_total 2\nvllm:kv_cache_usage_perc NaN\n"
    counters = vllm.parse_counters(page, 0)
    assert (counters.running, counters.waiting, counters.kv_usage) == (0, 0, 0.0)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<html>busy</html>",
        "vllm:prompt_tokens_total 1\n",
        "vllm:prompt_tokens_total NaN\nvllm:generation_tokens_total 2\n",
        "vllm:prompt_tokens_total -1\nvllm:generation_tokens_total 2\n",
        "vllm:prompt_tokens_total 1.5\nvllm:generation_tokens_total 2\n",
        "vllm:prompt_tokens_total many\nvllm:generation_tokens_total 2\n",
    ],
)
def test_it_is_strict_about_the_counters_that_bills_are_checked_against(page):
    with pytest.raises(MetricsMalformed):
        vllm.parse_counters(page, 0)


def test_it_knows_only_registered_kinds():
    assert engine_kind("vllm") is vllm
    with pytest.raises(UnknownEngineKind):
        engine_kind("os")


def test_a_cpu_engine_compiles_nothing_while_it_serves() -> None:
    assert vllm.environment(SPEC)["TORCHDYNAMO_DISABLE"] == "1"


def test_a_cpu_engine_with_adapters_gets_the_plugin_that_keeps_the_base_apart() -> None:
    plain = vllm.environment(SPEC)
    with_adapters = vllm.environment(replace(SPEC, flags=("--enable-lora",)))
    assert "vllm_plugins_cpu" in plain["PYTHONPATH"]
    assert os.pathsep not in plain["PYTHONPATH"]
    folder = Path(with_adapters["PYTHONPATH"].split(os.pathsep)[-1])
    assert (folder / "coderack_cpu_lora.py").is_file()
    assert "coderack_cpu_lora:register" in (folder / "coderack_cpu_lora-1.dist-info" / "entry_points.txt").read_text()


@pytest.mark.parametrize("devices", [SPEC.devices, CARDS], ids=["cpu", "cards"])
def test_an_engine_that_is_told_of_its_adapters_verifies_them(devices) -> None:
    told = Path("/data/home/adapters.json")
    environment = vllm.environment(replace(SPEC, devices=devices, flags=("--enable-lora",), adapters=told))
    folder = Path(environment["PYTHONPATH"].split(os.pathsep)[-1])
    assert environment[vllm.ADAPTERS_VARIABLE] == str(told)
    assert f'"{vllm.ADAPTERS_VARIABLE}"' in (folder / "coderack_adapters.py").read_text()
    assert "coderack_adapters:register" in (folder / "coderack_adapters-1.dist-info" / "entry_points.txt").read_text()
    without = vllm.environment(replace(SPEC, devices=devices, adapters=told))
    assert vllm.ADAPTERS_VARIABLE not in without
    assert "vllm_plugins_adapters" not in without.get("PYTHONPATH", "")


def test_an_engine_on_a_card_can_sleep_where_its_devices_are_lent():
    card = replace(SPEC, devices=CARDS, sleeps=True)
    assert "--enable-sleep-mode" in vllm.command(card)
    assert vllm.environment(card)["VLLM_SERVER_DEV_MODE"] == "1"
    on_npus = tuple(DeviceInfo(f"ascend:{n}", "ascend", "910B2", 1) for n in (0, 1))
    for spec in (replace(SPEC, sleeps=True), replace(SPEC, devices=CARDS), replace(card, devices=on_npus)):
        assert "--enable-sleep-mode" not in vllm.command(spec)
        assert "VLLM_SERVER_DEV_MODE" not in vllm.environment(spec), "its routes are for developers"


def test_it_reads_whether_an_engine_sleeps():
    assert vllm.parse_sleeping({"is_sleeping": True}) is True
    assert vllm.parse_sleeping({"is_sleeping": False}) is False
    assert vllm.parse_sleeping({}) is None
    assert vllm.parse_sleeping({"is_sleeping": "no"}) is None


def test_an_engine_over_two_machines_has_a_stage_on_each():
    cards = tuple(DeviceInfo(f"nvidia:{n}", "nvidia", "H20", 96 << 30) for n in range(16))
    argv = vllm.spanning_command(replace(SPEC, devices=cards), 2)
    text = " ".join(argv)
    assert "--tensor-parallel-size 8 --pipeline-parallel-size 2 --distributed-executor-backend ray" in text
    assert text.count("--tensor-parallel-size") == 1
    with pytest.raises(SpecRefused, match="shared out over 3 machines"):
        vllm.spanning_command(replace(SPEC, devices=cards), 3)
