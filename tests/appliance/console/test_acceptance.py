"""Acceptance: the list, one run with its reasons, and its certificate as a download that can do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.operations.models import AcceptanceRun
from tests.appliance.console import operations
from tests.appliance.console.cast import Cast


def page(cast: Cast, address: str) -> str:
    response = cast.client("operator").get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_it_says_what_a_run_is_and_how_to_begin_where_there_is_none(cast: Cast) -> None:
    shown = page(cast, "/acceptance/")
    assert "There was none yet" in shown
    assert "coderack acceptance run --model" in shown


def test_it_lists_target_and_measured(cast: Cast) -> None:
    run = operations.accepted(failed_requests=3)
    shown = page(cast, "/acceptance/")
    for part in (f"/acceptance/{run.pk}/", "21\u202f234", "of 20\u202f000", "3 failed", 'word-good">met'):
        assert part in shown


def test_it_filters_by_verdict_and_model(cast: Cast) -> None:
    met, void = operations.accepted(), operations.accepted("void")
    shown = page(cast, "/acceptance/?state=void")
    assert str(void.pk) in shown
    assert str(met.pk) not in shown
    assert "No run matches" in page(cast, "/acceptance/?model=other")


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("met", "The targets were met."), ("not_met", "The targets were not met."), ("void", "say nothing about")],
)
def test_it_says_what_the_verdict_means_and_why(cast: Cast, verdict: str, said: str) -> None:
    shown = page(cast, f"/acceptance/{operations.accepted(verdict, reasons=['too few <tokens>']).pk}/")
    assert said in shown
    assert "too few &lt;tokens&gt;" in shown
    assert "20 min 0 s" in shown


@pytest.mark.parametrize(
    ("name", "kind"), [("certificate.html", "text/html"), ("certificate.json", "application/json")]
)
def test_it_hands_the_certificate_out_as_a_file_that_can_do_nothing_here(cast: Cast, name: str, kind: str) -> None:
    run = operations.accepted(files=True)
    address = f"/acceptance/{run.pk}/{name}"
    assert address in page(cast, f"/acceptance/{run.pk}/")
    response = cast.client("operator").get(address)
    assert response["Content-Type"].startswith(kind)
    assert response["Content-Disposition"].startswith("attachment")
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_it_says_so_where_the_files_are_gone(cast: Cast) -> None:
    run = operations.accepted()
    assert "not on this machine" in page(cast, f"/acceptance/{run.pk}/")
    assert cast.client("operator").get(f"/acceptance/{run.pk}/certificate.html").status_code == 404


def test_it_hands_out_nothing_from_elsewhere(cast: Cast, tmp_path: Path) -> None:
    run = operations.accepted()
    operations.write(tmp_path)
    AcceptanceRun.objects.filter(pk=run.pk).update(folder=str(tmp_path))
    assert cast.client("operator").get(f"/acceptance/{run.pk}/certificate.json").status_code == 404
