"""`coderack ledger`: the books, and whether they agree with what the engines counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.env import load
from ops.cli.database import rows
from ops.cli.printing import AsJson, fail, out, show_facts

if TYPE_CHECKING:
    from inference.metering.books import LifeBooks

app = typer.Typer(help="The ledger of usage.", no_args_is_help=True)


@app.command()
def reconcile(
    days: Annotated[int, typer.Option(help="Leave out engines that ended longer ago.", min=1, max=3650)] = 7,
    as_json: AsJson = False,
) -> None:
    """Compare the ledger with the engines' own counters, engine by engine."""
    env = load()
    with rows():
        from appliance.ledger.reconcile import reconcile as compare  # noqa: PLC0415 - after Django's setup

        report = compare(env.journal_dir, days)
    show_facts(
        {
            "overbilled": _told(asdict(report.overbilled), as_json),
            "unattributed": _told(asdict(report.unattributed), as_json),
            "elsewhere": _told(asdict(report.elsewhere), as_json),
            **asdict(report.on_the_way),
            "lives": [_life(life) if as_json else _brief(life) for life in report.lives],
        },
        as_json,
    )
    if not as_json:
        for told in _notes(report.lives):
            out.print(told, markup=False)
    if report.overbilled:
        raise fail("more was billed than the engines made: see docs/operations.md#reconciliation")


def _notes(lives: Iterable[LifeBooks]) -> Iterator[str]:
    """What must be known to read the lines of attached servers."""
    for life in lives:
        name = f"{life.life_id[:8]} ({life.attached_url})"
        if not life.counters_known:
            yield f"{name}: an attached server that shows no counters; what it made is unknown"
        if not life.counts_aborted:
            yield f"{name}: an attached server that can't tell what aborted requests used; they are billed by delivered events"


def _told(tokens: dict[str, int], as_json: bool) -> Any:
    return tokens if as_json else f"{tokens['prompt']} prompt, {tokens['completion']} generated"


def _brief(life: LifeBooks) -> dict[str, str]:
    """One engine life for a person: pairs are input and output tokens."""
    unattributed = life.unattributed
    return {
        "life": life.life_id[:8],
        "model": life.model,
        "state": _state(life),
        "engine": f"{life.engine.prompt} + {life.engine.completion}" if life.counters_known else "unknown",
        "ledger": f"{life.ledger.prompt} + {life.ledger.completion}",
        "unattributed": "–" if unattributed is None else f"{unattributed.prompt} + {unattributed.completion}",
        "overbilled": f"{life.overbilled.prompt} + {life.overbilled.completion}",
        "requests": f"{life.num_requests} ({life.num_inexact} inexact)",
    }


def _state(life: LifeBooks) -> str:
    return "ended" if life.has_ended else "idle" if life.at_rest else "busy"


def _life(life: LifeBooks) -> dict[str, Any]:
    unattributed = life.unattributed
    return {
        "life": life.life_id,
        "replica": life.replica_id,
        "model": life.model,
        "state": _state(life),
        "attached": life.attached_url or None,
        "counters_known": life.counters_known,
        "counts_aborted": life.counts_aborted,
        "engine_prompt": life.engine.prompt,
        "ledger_prompt": life.ledger.prompt,
        "unattributed_prompt": None if unattributed is None else unattributed.prompt,
        "engine_generated": life.engine.completion,
        "ledger_generated": life.ledger.completion,
        "unattributed_generated": None if unattributed is None else unattributed.completion,
        "overbilled_prompt": life.overbilled.prompt,
        "overbilled_generated": life.overbilled.completion,
        "unread_prompt": life.unread.prompt,
        "unread_generated": life.unread.completion,
        "requests": life.num_requests,
        "inexact": life.num_inexact,
        "lost": life.num_lost,
    }
