"""`coderack plan-capacity`: what a box can serve, before it is bought or set up. It needs nothing that runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from inference.capacity.answer import Answer
from inference.capacity.drawing import frontier_svg
from inference.capacity.efficiency import Engine, Interval
from inference.capacity.errors import BadQuestion
from inference.capacity.plan import plan
from inference.capacity.question import Question
from inference.capacity.rates import ContractRow
from ops.cli.printing import AsJson, Exit, fail, out, show_json

Line = tuple[str, str, str]


def plan_capacity(
    model: Annotated[str, typer.Option(help="A preset of the catalog, for instance deepseek-coder-v2-instruct.")],
    hardware: Annotated[str, typer.Option(help="Number and card, for instance 8xH20-96.")],
    precision: Annotated[str, typer.Option(help="bf16, fp8, w8a8 or int4-experts.")],
    input_tokens: Annotated[int, typer.Option(help="Tokens of a mean prompt.", min=1)] = 2000,
    output_tokens: Annotated[int, typer.Option(help="Tokens of a mean answer.", min=1)] = 1000,
    hit_rate: Annotated[
        float, typer.Option(help="Share of input tokens found in the prefix cache, from 0 to below 1.")
    ] = 0.0,
    tpot_ms: Annotated[float, typer.Option(help="Milliseconds that an output token may take.")] = 50.0,
    engine: Annotated[
        str, typer.Option(help="Kind of serving: current (what this appliance runs), 2024 or separate.")
    ] = Engine.CURRENT.value,
    svg: Annotated[Path | None, typer.Option(help="Draw the frontier into this SVG file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Predict how many tokens a second a box of cards serves, and what limits it."""
    try:
        answer = plan(Question(model, hardware, precision, input_tokens, output_tokens, hit_rate, tpot_ms, engine))
    except BadQuestion as error:
        raise fail("\n".join(error.faults), Exit.USAGE) from None
    if svg:
        _draw(answer, svg)
    if as_json:
        show_json(rounded(asdict(answer)))
        return
    _show(answer)


def _draw(answer: Answer, path: Path) -> None:
    try:
        path.write_text(frontier_svg(answer), encoding="utf-8")
    except OSError as error:
        raise fail(f"{path} can't be written: {error.strerror}") from None


def rounded(value: Any) -> Any:
    """Four decimals: more would pretend that data sheets are exact."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def _show(answer: Answer) -> None:
    asked = answer.question
    out.print(
        f"{asked.model} in {asked.precision} on {asked.hardware}: {asked.input_tokens} tokens in, {asked.output_tokens} out, "
        f"{asked.hit_rate:.0%} of the input cached, {asked.tpot_ms:g} ms a token",
        markup=False,
    )
    if answer.reason:
        out.print(f"Not possible: {answer.reason}.", markup=False, style="red")
    if answer.nearest:
        out.print(f"The nearest that fits: {answer.nearest}.", markup=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    rates = _rates(answer) if answer.possible else ()
    for line in (*rates, *_memory(answer), *map(_row, answer.contract), *_catalog(answer), *_assumed(answer)):
        table.add_row(*line)
    out.print(table)
    out.print(
        "Predicted from data sheets and others' measurements: nothing here was measured. Intervals hold 8 of 10 cases.",
        markup=False,
    )


def _rates(answer: Answer) -> Iterator[Line]:
    prefill, decode, both = answer.prefill, answer.decode, answer.together
    yield (
        "input alone",
        f"{prefill.tokens_per_s:,.0f} tokens/s",
        f"{_between(prefill.interval)}, physics ends at {prefill.ceiling_tps:,.0f}; "
        f"{prefill.uncached_tokens_per_s:,.0f} of them uncached; limited by {prefill.limit}.",
    )
    yield (
        "output alone",
        f"{decode.tokens_per_s:,.0f} tokens/s",
        f"{_between(decode.interval)}, physics ends at {decode.ceiling_tps:,.0f}; "
        f"by {decode.sequences} sequences at once; limited by {decode.limit}.",
    )
    yield (
        "both",
        f"{both.requests_per_s:,.2f} requests/s",
        f"{_between(both.interval, 2)}; {both.input_tps:,.0f} in and {both.output_tps:,.0f} out at the same time; "
        f"limited by {answer.binding_limit}.",
    )
    pairs = ", ".join(f"{point.input_tps:,.0f} + {point.output_tps:,.0f}" for point in answer.frontier[::2])
    yield "in + out", "tokens/s", f"The most at the same time: {pairs}."


def _between(interval: Interval, decimals: int = 0) -> str:
    return f"{interval.low:,.{decimals}f} to {interval.high:,.{decimals}f}"


def _memory(answer: Answer) -> Iterator[Line]:
    weights, kv, asked = answer.weights, answer.kv, answer.question
    yield (
        "weights",
        f"{weights.per_card_gb:.1f} GB a card",
        f"{weights.total_gb:.1f} GB in all; a card leaves {weights.usable_per_card_gb:.1f} GB.",
    )
    yield (
        "cache",
        f"{kv.tokens:,} tokens",
        f"{kv.sequences} sequences of {asked.input_tokens + asked.output_tokens} tokens, {kv.bytes_per_token} bytes a token.",
    )


def _row(row: ContractRow) -> Line:
    return (
        f"{row.input_tps:,.0f} in + {row.output_tps:,.0f} out",
        f"{'yes' if row.feasible else 'no'}, {row.outlook}",
        f"Needs {row.required_efficiency:.1%} of the peak, {row.predicted_efficiency:.1%} is predicted; the box does "
        f"{row.reached:.2f} times the pair ({_between(row.reached_interval, 2)}); "
        f"{row.sequences:,.0f} sequences run at once; {row.binding_limit} limits.",
    )


def _catalog(answer: Answer) -> Iterator[Line]:
    layout, advice, published = answer.layout, answer.recommended, answer.published
    parts = [f"tensor parallel {layout.tensor_parallel}", f"data parallel {layout.data_parallel}"]
    if layout.decode_context_parallel > 1:
        parts.append(f"decode context parallel {layout.decode_context_parallel}")
    if layout.expert_parallel:
        parts.append("experts spread")
    yield (
        "published",
        f"{published.prefill:.0%} / {published.decode:.0%}",
        f"The best efficiency of prefill and decode: {published.source}; plain tensor parallelism reaches "
        f"{published.plain_tensor_parallel:.0%}.",
    )
    yield "layout", f"{layout.replicas} x {layout.cards_per_replica} cards", f"{', '.join(parts)}."
    yield "profile", advice.profile or "none", f"{advice.note}.{_too_few(answer)}"


def _assumed(answer: Answer) -> Iterator[Line]:
    found = answer.calibrated
    yield (
        "assumed engine",
        f"{found.engine}, {found.parallelism}",
        f"Reaches {found.prefill:.0%} of the ideal speed in prefill and {found.decode:.0%} in decode steps, with "
        f"{found.sequence_s * 1e6:.0f} microseconds of its own a token; fitted to published measurements "
        f"(coderack calibrate-capacity), right within a factor of {found.interval_factor:.1f} in 8 of 10 cases.",
    )
    for assumption in answer.assumptions:
        yield assumption.name.replace("_", " "), f"{assumption.value:g}", f"{assumption.source}."


def _too_few(answer: Answer) -> str:
    """The profile's flags may admit less than the prediction counts on."""
    admitted = answer.recommended.max_sequences
    if admitted is None or admitted >= answer.decode.sequences:
        return ""
    return f" Its --max-num-seqs admits {admitted} sequences; the output above counts on {answer.decode.sequences}."
