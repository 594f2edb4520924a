"""Figures from requests whose figures are known."""

from __future__ import annotations

import pytest

from ops.acceptance.measure import measure
from ops.acceptance.requests import decode, encode
from tests.ops.acceptance.made import WINDOW, measured, request, requests


def test_tokens_count_by_their_arrival_inside_the_window() -> None:
    figures = measured()
    assert (figures.window_s, figures.output_tps, figures.input_tps) == (20.0, 10.0, 40.0)
    assert (figures.requests, figures.requests_in_window, figures.failed_requests) == (30, 20, 0)


def test_a_request_across_the_windows_edge_counts_by_the_part_inside() -> None:
    figures = measured([request(24, ended_s=26.0, events=5, events_in_window=2)])
    assert figures.output_tps == pytest.approx(10 * 2 / 5 / 20)


def test_a_prompt_counts_at_its_first_token_and_only_there() -> None:
    before = request(4, ttft_s=1.5)  # began before the window, its first token came inside
    after = request(24, ttft_s=1.5)
    assert measured([before]).input_tps == 40 / 20
    assert measured([after]).input_tps == 0.0
    assert (measured([before]).requests_in_window, measured([after]).requests_in_window) == (0, 1)


def test_tpot_is_the_time_after_the_first_token_over_the_others() -> None:
    figures = measured([request(6, ttft_s=0.1, ended_s=7.0)])
    assert figures.tpot.p50_ms == pytest.approx(900 / 9)
    assert figures.ttft.p99_ms == 100.0


def test_percentiles_are_by_nearest_rank() -> None:
    rows = [request(6, ttft_s=number / 1000) for number in range(1, 201)]
    figures = measured(rows)
    assert (figures.ttft.p50_ms, figures.ttft.p90_ms, figures.ttft.p99_ms) == (100.0, 180.0, 198.0)


def test_a_failed_request_counts_as_such_and_adds_no_token() -> None:
    rows = [request(6), request(7, error="the connection was closed", ttft_s=None, completion_tokens=0)]
    figures = measured(rows)
    assert (figures.failed_requests, figures.requests, figures.requests_in_window) == (1, 2, 1)


def test_nothing_measured_is_no_figure() -> None:
    figures = measure([], (5.0, 5.0), 0.0)
    assert (figures.output_tps, figures.ttft.p99_ms, figures.hit_rate) == (0.0, None, 0.0)


def test_the_lines_give_the_same_figures_again() -> None:
    assert measure(decode(encode(requests())), WINDOW, 0.05) == measured()
