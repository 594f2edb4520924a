"""Upgrades: the list with its filters, one with its steps and what to do next, in every state."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tests.appliance.console import operations
from tests.appliance.console.cast import Cast


def page(cast: Cast, address: str) -> str:
    response = cast.client("operator").get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_it_says_what_an_upgrade_is_and_how_to_begin_where_there_is_none(cast: Cast) -> None:
    shown = page(cast, "/upgrades/")
    assert "There was none yet" in shown
    assert "coderack upgrade plan BUNDLE" in shown


def test_it_lists_an_upgrade_with_both_versions(cast: Cast) -> None:
    row = operations.upgrade()
    shown = page(cast, "/upgrades/")
    assert f"/upgrades/{row.pk}/" in shown
    assert "abababababab" in shown
    assert "cececececece" in shown
    assert 'word-good">done' in shown


def test_it_filters_by_state_and_model(cast: Cast) -> None:
    done, undone = operations.upgrade(), operations.upgrade("undone")
    shown = page(cast, "/upgrades/?state=undone")
    assert str(undone.pk) in shown
    assert str(done.pk) not in shown
    assert "No upgrade matches" in page(cast, "/upgrades/?name=other")


def test_it_pages_through_more_than_fit(cast: Cast) -> None:
    for _ in range(51):
        operations.upgrade()
    first = page(cast, "/upgrades/")
    assert "Older" in first
    assert first.count('href="/upgrades/') == 51  # 50 rows and the sidebar's entry


@pytest.mark.parametrize(
    ("state", "steps", "said"),
    [
        ("planned", ("waiting",) * 6, "coderack upgrade apply "),
        ("running", ("done", "done", "started", "waiting", "waiting", "waiting"), "coderack upgrade resume --undo"),
        ("done", ("done",) * 6, "coderack rollback tiny-coder"),
        ("undone", ("done", "undone", "undone", "failed", "waiting", "waiting"), "plan the upgrade again"),
        ("failed", ("done", "undoing", "undone", "failed", "waiting", "waiting"), "coderack upgrade resume"),
    ],
)
def test_it_says_what_to_do_next(cast: Cast, state: str, steps: tuple[str, ...], said: str) -> None:
    shown = page(cast, f"/upgrades/{operations.upgrade(state, steps).pk}/")
    assert said in shown
    assert ("data-live" in shown) == (state in {"planned", "running"})


def test_it_shows_a_failed_step_with_its_reason_its_attempts_and_its_time(cast: Cast) -> None:
    row = operations.upgrade(
        "undone", ("done", "undone", "undone", "failed", "waiting", "waiting"), reason="smoke: 3 of 4"
    )
    shown = page(cast, f"/upgrades/{row.pk}/")
    assert "3 of 4 answers were right" in shown
    assert "smoke: 3 of 4" in shown
    assert "1 min 15 s" in shown
    assert 'data-label="Attempts">2</td>' in shown


def test_it_takes_no_time_from_a_step_whose_clock_went_back(cast: Cast) -> None:
    row = operations.upgrade()
    row.steps.update(started_at=timezone.now())
    assert '>2</td><td class="n" data-label="Took">–</td>' in page(cast, f"/upgrades/{row.pk}/")


def test_it_refreshes_the_live_part_alone(cast: Cast) -> None:
    shown = page(cast, f"/upgrades/{operations.upgrade('running').pk}/?part=live")
    assert "<html" not in shown
    assert 'data-into="upgrade-state"' in shown


def test_the_overview_calls_for_a_person_where_one_could_not_be_taken_back(cast: Cast) -> None:
    row = operations.upgrade("failed")
    assert f"/upgrades/{row.pk}/" in page(cast, "/")


def test_it_knows_no_upgrade_of_another_id(cast: Cast) -> None:
    assert cast.client("operator").get("/upgrades/00000000-0000-4000-8000-000000000000/").status_code == 404
