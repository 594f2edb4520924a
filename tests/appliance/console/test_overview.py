"""The operator's overview: the verdict, what needs attention, figures now, charts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.cache.backends.redis import RedisCache
from django.utils import timezone

from appliance.console import attention, contract, throughput
from appliance.console.windows import WINDOWS
from appliance.fleet.models import Deployment, Device, Replica, Sample
from appliance.ledger.models import JournalCursor
from tests.appliance.console.cast import Cast, book


def _sample(model: str = "tiny-coder", age_s: float = 1, tps: float = 12, **more: float) -> None:
    values: dict[str, float] = {"running": 1, "waiting": 2, "kv_usage": 0.5, **more}
    at = timezone.now() - timedelta(seconds=age_s)
    Sample.objects.create(model_name=model, at=at, input_tps=tps * 2, output_tps=tps, **values)


def _device(age_s: float = 1, healthy: bool = True) -> None:
    seen = timezone.now() - timedelta(seconds=age_s)
    Device.objects.create(
        id="cpu:0", kind="cpu", name="CPU", memory_bytes=1 << 30, healthy=healthy, reason="hot", seen_at=seen
    )


def _page(cast: Cast, address: str = "/") -> str:
    response = cast.client("operator").get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_it_says_what_empty_parts_are_for(cast: Cast) -> None:
    page = _page(cast)
    for words in (
        "nothing deployed",
        "No samples in this window",
        "No replica yet",
        "No device reported",
        "Nothing was asked yet",
    ):
        assert words in page


def test_it_shows_a_request_of_a_tenant(cast: Cast) -> None:
    entry = book("acme", prompt=12345, completion=67)
    page = _page(cast)
    assert entry.request_id in page
    assert "12\u202f345" in page
    assert "42 ms" in page


def test_it_sums_the_newest_fresh_sample_of_each_model(cast: Cast) -> None:
    _sample(age_s=5, tps=99)
    _sample(age_s=1, tps=10)
    _sample("other", age_s=2, tps=5)
    now = throughput.now()
    assert (now.input_tps, now.output_tps, now.running, now.waiting) == (30, 15, 2, 4)


def test_it_shows_no_old_figure_as_the_present_one(cast: Cast) -> None:
    _sample(age_s=16)
    assert throughput.now().output_tps is None


@pytest.mark.parametrize(
    ("states", "word"),
    [([], "not serving"), (["loading"], "starting"), (["ready", "failed"], "degraded"), (["ready", "ready"], "serving"),
     (["failed", "loading"], "not serving")],
)  # fmt: skip
def test_it_gives_one_word_for_the_whole(cast: Cast, deployment: Deployment, states: list[str], word: str) -> None:
    Deployment.objects.update(replicas=2)
    for index, state in enumerate(states):
        Replica.objects.create(deployment=deployment, index=index, state=state)
    assert str(attention.verdict().text) == word


def test_it_names_what_needs_a_person(cast: Cast, deployment: Deployment) -> None:
    _device(healthy=False)
    Replica.objects.create(deployment=deployment, index=0, state="failed", reason="out of memory\nsecond line")
    JournalCursor.objects.create(name="gateway-1-1.jsonl", corrupt_lines=2)
    page = _page(cast)
    assert "Replica tiny-coder/0 failed: out of memory" in page
    assert "Device cpu:0 is unhealthy: hot" in page
    assert "2 damaged journal lines" in page


def test_it_says_when_the_pool_is_silent(cast: Cast, deployment: Deployment) -> None:
    _device(age_s=120)
    assert "The pool has not reported" in _page(cast)


@pytest.mark.parametrize("window", ["15m", "1h", "24h", "7d", "nonsense"])
def test_it_answers_each_window(cast: Cast, window: str) -> None:
    _sample()
    assert "<path" in _page(cast, f"/?window={window}")


def test_it_tells_when_the_contract_is_beyond_the_scale(cast: Cast) -> None:
    _sample(tps=100)
    page = _page(cast)
    assert "beyond this scale" in page
    assert 'class="contract"' not in page


def test_it_draws_the_contract_when_the_load_comes_near(cast: Cast) -> None:
    _sample(tps=4000)
    assert 'class="contract"' in _page(cast)


LATENCIES = {"ttft_p50_ms": 100.0, "ttft_p99_ms": 400.0, "tpot_p50_ms": 20.0, "tpot_p99_ms": 45.0}
PROMISED = contract.Targets(input_tps=100, output_tps=50, ttft_ms=400, tpot_ms=40)


def test_the_present_latency_is_the_last_minutes_of_the_slowest_model(cast: Cast) -> None:
    _sample(age_s=40, **LATENCIES)
    _sample(age_s=20, **{**LATENCIES, "ttft_p50_ms": 200.0, "ttft_p99_ms": 900.0})
    _sample(age_s=2)
    _sample("other", age_s=2, **{**LATENCIES, "tpot_p99_ms": 60.0})
    _sample("past", age_s=70, **{**LATENCIES, "ttft_p99_ms": 5000.0})
    now = throughput.now()
    assert (now.ttft_p50_ms, now.ttft_p99_ms, now.tpot_p50_ms, now.tpot_p99_ms) == (150, 900, 20, 60)


def test_a_latency_without_fresh_samples_is_not_known(cast: Cast) -> None:
    _sample(age_s=20, **LATENCIES)
    assert throughput.now() == throughput.Now()
    assert contract.kept(throughput.now(), PROMISED) == contract.Kept(None, None, None, None)


@pytest.mark.parametrize(
    ("tps", "more", "words"),
    [
        (60, LATENCIES, ("met", "met", "met", "not met")),
        (10, LATENCIES, ("not met", "not met", "met", "not met")),
        (10, {**LATENCIES, "waiting": 0}, ("light load", "light load", "met", "not met")),
        (1, {"waiting": 0, "running": 0}, ("no load", "no load", "no load", "no load")),
        (10, {"waiting": 0, "running": 1}, ("light load", "light load", "no load", "no load")),
        (60, {"ttft_p99_ms": 400.6, "ttft_p50_ms": 1.0}, ("met", "met", "not met", "no load")),
    ],
)
def test_it_says_whether_the_contract_is_kept(
    cast: Cast, tps: float, more: dict[str, float], words: tuple[str, ...]
) -> None:
    _sample(tps=tps, **more)
    kept = contract.kept(throughput.now(), PROMISED)
    assert tuple(str(word.text) for word in (kept.input, kept.output, kept.ttft, kept.tpot) if word) == words


def test_it_shows_latencies_beside_the_contract_this_appliance_is_set_to(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ENV", replace(settings.ENV, contract_ttft_ms=300, contract_tpot_ms=46))
    _sample(**LATENCIES)
    page = _page(cast)
    assert "at most 300 ms; p50 100 ms" in page
    assert "contract 46 ms" in page
    assert page.count('class="band') == 2


def test_a_step_without_requests_is_a_gap_in_the_latencies_and_none_in_the_throughput(cast: Cast) -> None:
    for age_s in range(1, 62, 2):
        _sample(age_s=age_s, **(LATENCIES if not 20 < age_s < 45 else {}))
    page = _page(cast)
    charts = [part.split("</svg>")[0] for part in page.split('<svg class="chart"')[1:]]
    assert [
        chart.split('<path class="series series-')[1].split('d="')[1].split('"')[0].count("M") for chart in charts
    ] == [1, 1, 2, 2]


def test_a_step_shows_the_mean_of_the_medians_and_the_largest_p99(cast: Cast) -> None:
    window, until = WINDOWS["24h"], timezone.now()
    at = until.timestamp() // window.step_s * window.step_s - window.step_s  # the whole step before the present one
    age_s = until.timestamp() - at - 5
    _sample(age_s=age_s, **LATENCIES)
    _sample(age_s=age_s - 9, **{**LATENCIES, "ttft_p50_ms": 300.0, "ttft_p99_ms": 1400.0})
    _sample(age_s=age_s - 18)
    (point,) = throughput.history(window, until)
    assert (point.ttft_p50_ms, point.ttft_p99_ms, point.tpot_p50_ms, point.output_tps) == (200, 1400, 20, 12)


def test_a_long_window_is_shown_while_redis_is_away(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "cache", RedisCache("redis://127.0.0.1:9/0", {}))
    _sample()
    assert _page(cast, "/?window=24h").count('<svg class="chart"') == 2


def test_it_answers_the_live_part_alone(cast: Cast) -> None:
    page = _page(cast, "/?part=live")
    assert "<html" not in page
    assert "Last requests" in page
