"""The operator's overview: the verdict, what needs attention, figures now, charts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from appliance.console import attention, throughput
from appliance.fleet.models import Deployment, Device, Replica, Sample
from appliance.ledger.models import JournalCursor
from tests.appliance.console.cast import Cast, book


def _sample(model: str = "tiny-coder", age_s: float = 1, tps: float = 12) -> None:
    Sample.objects.create(
        model_name=model, at=timezone.now() - timedelta(seconds=age_s), input_tps=tps * 2, output_tps=tps, running=1, waiting=2,
        kv_usage=0.5,
    )  # fmt: skip


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


def test_it_answers_the_live_part_alone(cast: Cast) -> None:
    page = _page(cast, "/?part=live")
    assert "<html" not in page
    assert "Last requests" in page
