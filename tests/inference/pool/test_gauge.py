"""An engine's load between readings, on pages as vLLM writes them, served on a real socket."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from inference.engines import engine_kind
from inference.pool.engine_client import EngineClient
from inference.pool.gauge import Gauge
from inference.pool.load import Load

Show = Callable[..., Gauge]


@pytest.fixture
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """Let the engine's page say this, and the gauge read it."""
    folder: Path = tmp_path_factory.mktemp("gauge")
    pages = [""]

    class Handler(BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = pages[0].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with socketserver.ThreadingUnixStreamServer(str(folder / "s"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        gauge = Gauge(engine_kind("vllm"), EngineClient(folder / "s"), stale_s=5)

        def show(quick: int, slow: int, single: int = 0) -> Gauge:
            pages[0] = _page(quick, slow, single)
            gauge.read(2)
            return gauge

        yield show
        server.shutdown()
        thread.join()


def _page(quick: int, slow: int, single: int) -> str:
    total = quick + slow
    return (
        f"vllm:prompt_tokens_total {10 * total}\nvllm:generation_tokens_total {total}\n"
        f'vllm:time_to_first_token_seconds_bucket{{le="0.1"}} {quick}\n'
        f'vllm:time_to_first_token_seconds_bucket{{le="2.0"}} {total}\n'
        f'vllm:time_to_first_token_seconds_bucket{{le="+Inf"}} {total}\n'
        f'vllm:request_time_per_output_token_seconds_bucket{{le="0.05"}} {total}\n'
        f'vllm:request_time_per_output_token_seconds_bucket{{le="+Inf"}} {total}\n'
        f'vllm:request_generation_tokens_bucket{{le="1.0"}} {single}\n'
        f'vllm:request_generation_tokens_bucket{{le="+Inf"}} {total}\n'
    )


def _now(gauge: Gauge) -> Load:
    gauge.load(time.time())  # the metrics page looks, too, and takes nothing away
    return gauge.sample(time.time())


def test_an_adopted_engines_past_is_not_the_present(reading: Show) -> None:
    assert _now(reading(1000, 1000)).ttft.total == 0


def test_each_latency_is_told_once_however_often_the_engine_is_read(reading: Show) -> None:
    reading(5, 0)
    reading(6, 0)
    gauge = reading(6, 1)
    assert [count for _, count in _now(gauge).ttft.buckets] == [1, 1, 0]
    assert _now(gauge).ttft.quantile(0.5) is None


def test_canaries_alone_give_no_latency(reading: Show) -> None:
    reading(5, 0, single=5)
    load = _now(reading(8, 0, single=8))
    assert (load.ttft.total, load.tpot.total) == (0, 0)


def test_beside_canaries_a_requests_latency_is_its_own(reading: Show) -> None:
    reading(5, 0, single=5)
    load = _now(reading(7, 1, single=7))
    assert [count for _, count in load.ttft.buckets] == [0, 1, 0]
    assert load.tpot.total == 1


def test_after_a_restart_only_what_came_since_is_told(reading: Show) -> None:
    reading(50, 5, single=20)
    load = _now(reading(2, 1, single=1))
    assert load.ttft.total == 2
    assert (load.input_tps, load.output_tps) == (0, 0)


def test_loads_of_several_engines_add_up(reading: Show) -> None:
    reading(1, 0)
    one = _now(reading(2, 0))
    other = Load(10.0, 1.0, 1, 2, 0.5, one.ttft, one.tpot)
    both = one + other
    assert both.ttft.total == 2
    assert (both.running, both.waiting, both.kv_usage) == (1, 2, 0.5)


def test_an_old_reading_is_no_load(reading: Show) -> None:
    reading(1, 0)
    gauge = reading(2, 0)
    assert gauge.load(time.time() + 6) == gauge.sample(time.time() + 6) == Load()
