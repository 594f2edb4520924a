"""vLLM: its command line, its environment, its counters and latencies, the pool's own requests: canaries, aborts, adapters.

Everything is a pure function of its arguments, apart from a few variables of our own environment that a machine's
drivers need (`PASSED_ON`). What the flags of a model should be is the catalog's business.
"""

import contextlib
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference.engines.errors import ListMalformed, MetricsMalformed, SpecRefused
from inference.engines.exposition import series
from inference.engines.histogram import Histogram
from inference.engines.spec import Counters, EngineSpec
from inference.engines.vllm_adapter_flags import adapted_modules as adapted_modules  # noqa: PLC0414 - a part of the kind
from inference.engines.vllm_adapter_flags import max_adapter_rank as max_adapter_rank  # noqa: PLC0414 - a part of the kind
from inference.engines.vllm_adapter_flags import pinnable_adapters as pinnable_adapters  # noqa: PLC0414 - a part of the kind
from inference.engines.vllm_adapter_flags import without_adapters as without_adapters  # noqa: PLC0414 - a part of the kind
from inference.engines.vllm_flags import splits
from inference.engines.vllm_release import release_environment, release_flags

HEALTH_PATH = "/health"
METRICS_PATH = "/metrics"
ADAPTERS_PATH = "/v1/models"
SLEEPING_PATH = "/is_sleeping"
# It skips these modules of an adapter without a word (vllm issue 48974).
NEVER_ADAPTED = frozenset({"kv_b_proj"})

# The only things an engine gets from our own environment: secrets such as DATABASE_URL must never be among them.
PASSED_ON = (
    *("LD_LIBRARY_PATH", "CUDA_HOME", "TZ"),
    *("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "ASCEND_OPP_PATH", "ASCEND_AICPU_PATH", "ATB_HOME_PATH"),
)
_VISIBLE = {"nvidia": "CUDA_VISIBLE_DEVICES", "ascend": "ASCEND_RT_VISIBLE_DEVICES"}
# Folders of plugins of vLLM's own kind, found by their .dist-info: for adapters on a CPU, for every CPU engine, and for
# adapters anywhere. The last one is told by a variable what the pool says of the engine's adapters.
PLUGINS = Path(__file__).with_name("vllm_plugins")
CPU_PLUGINS = Path(__file__).with_name("vllm_plugins_cpu")
ADAPTER_PLUGINS = Path(__file__).with_name("vllm_plugins_adapters")
CPU_CACHE_GIB = 1  # of context that an engine on a CPU keeps, whatever the model
ADAPTERS_VARIABLE = "CODERACK_ADAPTERS"
# How an engine is reached, and what the appliance needs from it, is ours to say and not a deployment's.
# Adapters come at run time, after the pool has verified them.
OWN_FLAGS = frozenset(
    {
        *("--uds", "--host", "--port", "--model", "--served-model-name", "--api-key", "--root-path", "--lora-modules"),
        "--trust-remote-code",  # a checkpoint's own code is never run
        "--scheduling-policy",  # any other answers the gateway's requests, which have a priority, with 400
    }
)
_DEFAULT_MEMORY_SHARE = 0.9  # the smaller of its releases' defaults: a card is not refused that it would take
_SHORTEST = 4  # characters of a flag's name that could mean anything


def command(spec: EngineSpec) -> list[str]:
    """The argv that serves a model on a Unix socket.

    Raises: SpecRefused when the deployment's flags take over what the pool decides.
    """
    # the module, not the `vllm` command: that one looks for a distribution of this very name, which the CPU build lacks
    return [
        *(str(spec.slot_python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--uds", str(spec.socket)),
        *("--model", str(spec.model_path)),
        *("--served-model-name", spec.model),
        *("--max-model-len", str(spec.max_model_len)),
        *("--scheduling-policy", "priority"),
        "--enable-prompt-tokens-details",
        *("--generation-config", "vllm"),
        *("--shutdown-timeout", str(spec.shutdown_timeout_s)),
        *release_flags(spec.slot_python),
        "--disable-uvicorn-access-log",
        *_device_flags(spec),
        *(["--enable-sleep-mode"] if _can_sleep(spec) else []),
        *_checked(spec.flags),
    ]


def spanning_command(spec: EngineSpec, machines: int) -> list[str]:
    """The argv of an engine over the cards of several machines, through its own Ray executor: a stage of layers on each.

    Each machine's cards hold a stage together. Nothing starts it yet: it needs the network that engines are kept from.
    Raises: SpecRefused where the cards can't be shared out evenly, or aren't cards.
    """
    if _kind(spec) == "cpu" or machines < 2 or len(spec.devices) % machines:
        raise SpecRefused(f"{len(spec.devices)} devices of {_kind(spec)} can't be shared out over {machines} machines")
    stages = ("--tensor-parallel-size", str(len(spec.devices) // machines), "--pipeline-parallel-size", str(machines))
    return [*command(replace(spec, flags=(*spec.flags, *stages))), "--distributed-executor-backend", "ray"]


def environment(spec: EngineSpec) -> dict[str, str]:
    """The whole environment of the engine: offline, silent towards its makers, with folders of its own."""
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    plugins = os.pathsep.join(map(str, _plugins(spec)))
    return inherited | {
        "PATH": f"{spec.slot_python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONSAFEPATH": "1",  # `-m` would put the folder it is started in before its own packages
        "PYTHONUNBUFFERED": "1",  # the last lines of a log say why an engine died
        "HOME": str(spec.home),
        "XDG_CACHE_HOME": str(spec.home / ".cache"),
        "XDG_CONFIG_HOME": str(spec.home / ".config"),
        "XDG_DATA_HOME": str(spec.home / ".local"),
        "TMPDIR": str(spec.scratch),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_MAX_STOP_STRINGS": "16",  # the gateway's bound, which is DeepSeek's; the engine's own is 4
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(spec.cache),
        "VLLM_RPC_BASE_PATH": str(spec.scratch),  # holds sockets: their paths must stay short
        "VLLM_HOST_IP": "127.0.0.1",  # there is no other interface where it runs
        **({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if max_adapter_rank(spec.flags) else {}),
        **({"VLLM_SERVER_DEV_MODE": "1"} if _can_sleep(spec) else {}),  # the only way to its routes for sleep
        **({"PYTHONPATH": plugins} if plugins else {}),
        **({ADAPTERS_VARIABLE: str(spec.adapters)} if _verifies(spec) else {}),
        **release_environment(spec.slot_python),
        **_device_environment(spec),
    }


def canary_request(model: str) -> tuple[str, dict[str, Any]]:
    return "/v1/completions", {"model": model, "prompt": "1 + 1 =", "max_tokens": 1, "temperature": 0}


def abort_request(request_id: str) -> tuple[str, dict[str, Any]]:
    return "/inference/v1/abort_requests", {"request_ids": [f"cmpl-{request_id}-0"]}


def memory_share(flags: tuple[str, ...]) -> float:
    """What `--gpu-memory-utilization` says, else the engine's default. It refuses to start where less is free."""
    share = _DEFAULT_MEMORY_SHARE
    for flag, following in zip(flags, (*flags, "")[1:], strict=True):
        name, _, value = flag.partition("=")
        if name.replace("_", "-") == "--gpu-memory-utilization":
            with contextlib.suppress(ValueError):
                share = min(1.0, max(0.0, float(value or following)))
    return share


def load_adapter_request(name: str, path: Path) -> tuple[str, dict[str, Any]]:
    return "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)}


def unload_adapter_request(name: str) -> tuple[str, dict[str, Any]]:
    return "/v1/unload_lora_adapter", {"lora_name": name}


def sleep_request() -> tuple[str, dict[str, Any]]:
    """Level 1 keeps the weights, in the host's memory; level 2 would lose them. `wait` cuts no request, the default does."""
    return "/sleep?level=1&mode=wait", {}


def wake_request() -> tuple[str, dict[str, Any]]:
    return "/wake_up", {}


def parse_sleeping(told: dict[str, Any]) -> bool | None:
    """It says so as long as its scheduler is paused, too."""
    value = told.get("is_sleeping")
    return value if isinstance(value, bool) else None


def parse_adapters(listed: dict[str, Any]) -> dict[str, str]:
    """The adapters of a model list, each with the path it was loaded from; base models have no parent."""
    cards = listed.get("data")
    if not isinstance(cards, list) or not all(isinstance(card, dict) for card in cards):
        raise ListMalformed("the list of models is none")
    return {str(card.get("id")): str(card.get("root")) for card in cards if card.get("parent") is not None}


def parse_counters(text: str, at: float) -> Counters:
    """Read the token counters, the load and the latencies out of a metrics page, summed over the engine's own parts.

    Raises: MetricsMalformed when a token counter is missing or is not a whole number; the rest only informs.
    """
    values: dict[str, list[float]] = {}
    buckets: dict[str, dict[float, float]] = {}
    for line in series(text, "vllm:"):
        if line.bound is None:
            values.setdefault(line.name, []).append(line.value)
        else:
            counts = buckets.setdefault(line.name, {})
            counts[line.bound] = counts.get(line.bound, 0.0) + line.value
    single = _single_token_requests(buckets)
    return Counters(
        prompt_tokens=_count(values, "vllm:prompt_tokens_total"),
        generation_tokens=_count(values, "vllm:generation_tokens_total"),
        running=int(_gauge(values, "vllm:num_requests_running")),
        waiting=int(_gauge(values, "vllm:num_requests_waiting")),
        kv_usage=max([value for value in values.get("vllm:kv_cache_usage_perc", []) if math.isfinite(value)] or [0.0]),
        at=at,
        ttft=_histogram(buckets, "vllm:time_to_first_token_seconds"),
        # (last token - first token) / (tokens - 1) of each ended request; for a single token it observes 0
        tpot=_histogram(buckets, "vllm:request_time_per_output_token_seconds").without_fastest(single),
        single_token_requests=single,
    )


def _can_sleep(spec: EngineSpec) -> bool:
    """0.32 can on CUDA and refuses to start with the flag on a CPU; of the older release for Ascend nobody has tried it."""
    return spec.sleeps and _kind(spec) == "nvidia"


def _device_flags(spec: EngineSpec) -> list[str]:
    if _kind(spec) == "cpu":
        return ["--enforce-eager", "--dtype", "bfloat16"]
    return [] if splits(spec.flags) else ["--tensor-parallel-size", str(len(spec.devices))]


def _device_environment(spec: EngineSpec) -> dict[str, str]:
    if _kind(spec) == "cpu":
        cores = sorted(core for device in spec.devices for core in device.cores)
        return {
            # left to itself each engine binds the same cores, and they fight over them
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(str(core) for core in cores),
            "VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE_GIB),
            "CUDA_VISIBLE_DEVICES": "",
            # the first request for log-probabilities would compile a function for 15 s, in which nobody gets a token
            "TORCHDYNAMO_DISABLE": "1",
        }
    chosen = {_VISIBLE[_kind(spec)]: ",".join(device.id.partition(":")[2] for device in spec.devices)}
    # NVML counts cards by their place on the bus; CUDA left to itself begins with the fastest, perhaps another's
    return chosen | ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if _kind(spec) == "nvidia" else {})


def _verifies(spec: EngineSpec) -> bool:
    """Whether it is told what its adapters are, and has any: then its plugin verifies and pins them."""
    return spec.adapters is not None and max_adapter_rank(spec.flags) > 0


def _plugins(spec: EngineSpec) -> list[Path]:
    """Without its plugins an engine with adapters would mix them up, or read changed ones, and vLLM says nothing."""
    on_cpu, needed = _kind(spec) == "cpu", []
    if on_cpu and max_adapter_rank(spec.flags):
        needed.append(PLUGINS / "coderack_cpu_lora.py")
    if _verifies(spec):
        needed.append(ADAPTER_PLUGINS / "coderack_adapters.py")
    beside = [ADAPTER_PLUGINS / "coderack_adapter_files.py"] if _verifies(spec) else []
    for module in needed:
        for path in (module, *beside, module.with_name(f"{module.stem}-1.dist-info") / "entry_points.txt"):
            if not path.is_file():
                raise SpecRefused(f"an engine with adapters needs {path}: install the appliance again")
    return [*([CPU_PLUGINS] if on_cpu else []), *(module.parent for module in needed)]


def _kind(spec: EngineSpec) -> str:
    kinds = {device.kind for device in spec.devices}
    if len(kinds) != 1 or not kinds <= {"cpu", *_VISIBLE}:
        raise SpecRefused(
            f"vLLM is run on devices of one kind, cpu, nvidia or ascend, not on {sorted(kinds) or 'none'}"
        )
    return kinds.pop()


def taken_over(flags: tuple[str, ...]) -> list[str]:
    """The flags that a deployment can't set, also where they are cut short: the engine takes what is unmistakable."""
    names = {flag.partition("=")[0].replace("_", "-") for flag in flags if flag.startswith("--")}
    return sorted(own for own in OWN_FLAGS if any(len(name) > _SHORTEST and own.startswith(name) for name in names))


def _checked(flags: tuple[str, ...]) -> tuple[str, ...]:
    taken = taken_over(flags)
    if taken:
        raise SpecRefused(f"a deployment can't set {', '.join(taken)}: the pool decides that")
    return flags


def _histogram(buckets: dict[str, dict[float, float]], name: str) -> Histogram:
    return Histogram.of_cumulative(buckets.get(f"{name}_bucket", {}))


def _single_token_requests(buckets: dict[str, dict[float, float]]) -> int:
    """Ended requests with one token or none, out of the histogram of their lengths."""
    lengths = _histogram(buckets, "vllm:request_generation_tokens").buckets
    return sum(count for bound, count in lengths if bound <= 1)


def _count(values: dict[str, list[float]], name: str) -> int:
    if name not in values:
        raise MetricsMalformed(f"the metrics lack {name}")
    total = math.fsum(values[name])
    if not math.isfinite(total) or total < 0 or total != int(total):
        raise MetricsMalformed(f"{name} is {total}, not a count")
    return int(total)


def _gauge(values: dict[str, list[float]], name: str) -> float:
    return math.fsum(value for value in values.get(name, []) if math.isfinite(value) and value >= 0)
