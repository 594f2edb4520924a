"""Capacity: the planner's answer for a question in the address; questions that can't be answered; nothing asked yet."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from appliance.console.figures import count, percent
from inference.capacity.plan import plan
from inference.capacity.question import Question
from tests.appliance.console.cast import Cast

FULL = {"model": "deepseek-coder-v2-instruct", "cards": "8", "card": "h20-96", "precision": "fp8"}
LITE = FULL | {"model": "deepseek-coder-v2-lite-instruct", "precision": "bf16"}


def page(cast: Cast, language: str = "en", **query: str) -> str:
    client = cast.client("operator")
    response = client.get(f"/capacity/?{urlencode(query)}", headers={"accept-language": language})
    assert response.status_code == 200
    return response.content.decode()


def test_it_says_what_it_is_for_before_anything_was_asked(cast: Cast) -> None:
    shown = page(cast)
    assert "Choose a model and press Predict" in shown
    assert "<svg" not in shown
    assert 'href="/capacity/" aria-current="page"' in shown


def test_it_shows_the_planners_own_figures(cast: Cast) -> None:
    answer = plan(Question("deepseek-coder-v2-instruct", "8xh20-96", "fp8", 3000, 700, 0.25, 40))
    shown = page(cast, **FULL, input_tokens="3000", output_tokens="700", hit_percent="25", tpot_ms="40")
    for value in (
        answer.prefill.tokens_per_s, answer.prefill.interval.low, answer.prefill.interval.high,
        answer.decode.tokens_per_s, answer.decode.interval.low, answer.decode.interval.high, answer.kv.tokens,
    ):  # fmt: skip
        assert count(value) in shown
    for row in answer.contract:
        assert f"{count(row.input_tps)} + {count(row.output_tps)}" in shown
        assert percent(row.required_efficiency) in shown
    assert percent(answer.published.prefill) in shown
    assert f"--profile {answer.recommended.profile}" in shown


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (FULL, "not feasible"),
        (FULL | {"precision": "bf16"}, "beyond physics"),
        (LITE, 'word-good">likely'),
        (FULL | {"precision": "bf16", "card": "910b3"}, "Not one request can be served like this."),
    ],
)
def test_it_gives_the_verdict(cast: Cast, query: dict[str, str], said: str) -> None:
    assert said in page(cast, **query)


def test_the_form_keeps_what_was_asked(cast: Cast) -> None:
    shown = page(cast, **LITE, input_tokens="777", tpot_ms="31.5")
    assert 'value="deepseek-coder-v2-lite-instruct" selected' in shown
    assert 'value="777"' in shown
    assert 'value="31.5"' in shown


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": "gpt-7"}, "no model &#x27;gpt-7&#x27;"),
        ({"card": "abacus"}, "no speeds are known for &#x27;abacus&#x27;"),
        ({"card": "l40s", "cards": "1"}, "1 is too few"),
        ({"cards": "many"}, "Cards: a number from 1 to 64 is needed."),
        ({"cards": "nan"}, "Cards: a number from 1 to 64 is needed."),
        ({"hit_percent": "100"}, "Prefix cache hits, percent: a number from 0 to 99.9 is needed."),
        ({"input_tokens": "0", "tpot_ms": "-1"}, "Time per output token, ms: a number from 0.1"),
        ({"input_tokens": "9999999"}, "was trained to"),
        ({"precision": "<script>alert(1)</script>"}, "no precision"),
    ],
)
def test_it_says_what_is_wrong_with_a_question(cast: Cast, more: dict[str, str], said: str) -> None:
    shown = page(cast, **{**FULL, **more})
    assert said in shown
    assert "<svg" not in shown
    assert "<script>alert" not in shown


def test_the_picture_is_one_that_a_strict_page_may_hold(cast: Cast) -> None:
    shown = page(cast, **FULL)
    (svg,) = re.findall(r"<svg xmlns.*?</svg>", shown, re.DOTALL)
    assert not [
        part for part in ElementTree.fromstring(svg).iter() if "style" in part.attrib or part.tag.endswith("}style")
    ]
    assert "20,000 + 5,000: unlikely" in svg


class _Texts(HTMLParser):
    """What a page says outside of code."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_it_speaks_chinese_also_in_the_picture(cast: Cast) -> None:
    shown = page(cast, "zh-hans", **FULL)
    parser = _Texts()
    parser.feed(shown)
    text = "\n".join(parser.texts)
    for words in ("所需效率", "不可行", "输出 token/秒", "20,000 + 5,000: 不太可能", "KV 容量", "显存带宽"):
        assert words in text
    for words in ("unlikely", "feasible", "tokens/s", "bandwidth"):
        assert words not in text
