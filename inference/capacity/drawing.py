"""The frontier as a picture: one SVG file that needs nothing else. Points are rates that hold at the same time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from inference.capacity.answer import Answer
from inference.capacity.rates import ContractRow, Outlook

WIDTH, HEIGHT = 760, 520
LEFT, RIGHT, TOP, BOTTOM = 84, 28, 66, 98
INK, GRID, LINE, BAND, CEILING = "#1f2933", "#d9dee4", "#1d5fa8", "#c9def4", "#9b2226"
COLOURS = {
    Outlook.LIKELY: "#1b7f4b",
    Outlook.POSSIBLE: "#1b7f4b",
    Outlook.DOUBTFUL: "#b7791f",
    Outlook.UNLIKELY: "#b3261e",
    Outlook.IMPOSSIBLE: "#b3261e",
}
FONT = 'font-family="sans-serif"'
Place = tuple[float, float]


@dataclass(frozen=True)
class Texts:
    """What is written into the picture, for readers of other languages; what stands in braces is filled in."""

    title: str = "{model} in {precision} on {hardware}"
    case: str = (
        "{input_tokens} tokens in, {output_tokens} out, {hit_rate} cached, {tpot_ms} ms a token; "
        "engine: {engine}, {parallelism}"
    )
    input: str = "input tokens/s"
    output: str = "output tokens/s"
    label: str = "Output tokens/s beside input tokens/s"
    predicted: str = "predicted"
    band: str = "8 of 10 cases (a factor of {factor} either way)"
    ceiling: str = "physics ends here"
    impossible: str = "Not possible: {reason}"
    outlooks: Mapping[Outlook, str] = field(default_factory=lambda: {outlook: outlook.value for outlook in Outlook})


def frontier_svg(answer: Answer, texts: Texts | None = None) -> str:
    """Input on the right axis, output on the upward one; the band is where the frontier lies in 8 of 10 cases.

    Everything in it that comes from a question is escaped; no style and no script, so that it can stand in a page.
    """
    texts = texts or Texts()
    picture = _Picture(answer, texts)
    body = "\n".join([*picture.axes(), *picture.curves(), *picture.pairs(), *picture.words()])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(texts.label)}">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


class _Picture:
    """Scales and parts of one answer's picture."""

    def __init__(self, answer: Answer, texts: Texts) -> None:
        self.answer = answer
        self.texts = texts
        self.curve = [(point.input_tps, point.output_tps) for point in answer.frontier]
        factor = answer.calibrated.interval_factor
        self.low = self._scaled(1 / factor)
        self.high = self._scaled(factor)
        pairs = [(row.input_tps, row.output_tps) for row in answer.contract]
        self.x_ticks = _ticks(max(x for x, _ in [*self.high, *pairs, (1.0, 0.0)]))
        self.y_ticks = _ticks(max(y for _, y in [*self.high, *pairs, (0.0, 1.0)]))

    def axes(self) -> Iterator[str]:
        """Grid, numbers and names of the axes."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        for x in self.x_ticks:
            at, _ = self._at((x, 0))
            yield f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="{GRID}"/>'
            yield _text(at, bottom + 18, f"{x:,.0f}", "middle")
        for y in self.y_ticks:
            _, at = self._at((0, y))
            yield f'<line x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="{GRID}"/>'
            yield _text(LEFT - 8, at + 4, f"{y:,.0f}", "end")
        yield f'<path d="M{LEFT} {TOP} V{bottom} H{right}" fill="none" stroke="{INK}"/>'
        yield _text((LEFT + right) / 2, bottom + 40, self.texts.input, "middle")
        middle = (TOP + bottom) / 2
        yield f'<g transform="rotate(-90 20 {middle})">{_text(20, middle, self.texts.output, "middle")}</g>'

    def curves(self) -> Iterator[str]:
        """The band, the frontier, and physics' ends where they are in sight."""
        band = [*self.low, *reversed(self.high)]
        yield f'<path class="band" d="{self._path(band)} Z" fill="{BAND}" fill-opacity="0.75"/>'
        yield f'<path class="frontier" d="{self._path(self.curve)}" fill="none" stroke="{LINE}" stroke-width="2.5"/>'
        answer, (right, top) = self.answer, (self.x_ticks[-1], self.y_ticks[-1])
        dashed = f'stroke="{CEILING}" stroke-dasharray="6 4"'
        if answer.possible and answer.prefill.ceiling_tps <= right:
            x, _ = self._at((answer.prefill.ceiling_tps, 0))
            yield f'<line class="ceiling" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" {dashed}/>'
        if answer.possible and answer.decode.ceiling_tps <= top:
            _, y = self._at((0, answer.decode.ceiling_tps))
            yield f'<line class="ceiling" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" {dashed}/>'

    def pairs(self) -> Iterator[str]:
        """The pairs that were asked for, with the verdict on each."""
        for row in self.answer.contract:
            yield from self._pair(row)

    def words(self) -> Iterator[str]:
        """What the picture is about, and what its parts mean."""
        asked, calibrated, texts = self.answer.question, self.answer.calibrated, self.texts
        title = texts.title.format(model=asked.model, precision=asked.precision, hardware=asked.hardware)
        yield _text(LEFT, 26, title, "start", 16, "bold")
        case = texts.case.format(
            input_tokens=asked.input_tokens, output_tokens=asked.output_tokens, hit_rate=f"{asked.hit_rate:.0%}",
            tpot_ms=f"{asked.tpot_ms:g}", engine=calibrated.engine.value, parallelism=calibrated.parallelism,
        )  # fmt: skip
        yield _text(LEFT, 48, case)
        if not self.answer.possible:
            reason = texts.impossible.format(reason=self.answer.reason or "")
            yield _text(LEFT, TOP + 22, reason, "start", 11, colour=COLOURS[Outlook.UNLIKELY])
        y = HEIGHT - 28
        yield f'<line x1="{LEFT}" y1="{y - 4}" x2="{LEFT + 26}" y2="{y - 4}" stroke="{LINE}" stroke-width="2.5"/>'
        yield _text(LEFT + 32, y, texts.predicted)
        yield f'<rect x="{LEFT + 118}" y="{y - 11}" width="26" height="14" fill="{BAND}"/>'
        yield _text(LEFT + 150, y, texts.band.format(factor=f"{calibrated.interval_factor:.1f}"))
        yield f'<line x1="{LEFT + 442}" y1="{y - 4}" x2="{LEFT + 468}" y2="{y - 4}" stroke="{CEILING}" stroke-dasharray="6 4"/>'
        yield _text(LEFT + 474, y, texts.ceiling)

    def _pair(self, row: ContractRow) -> Iterator[str]:
        x, y = self._at((row.input_tps, row.output_tps))
        colour = COLOURS[row.outlook]
        yield f'<circle class="pair" cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{colour}"/>'
        words = f"{row.input_tps:,.0f} + {row.output_tps:,.0f}: {self.texts.outlooks[row.outlook]}"
        # Room to the right, or else to the left.
        beyond = x > WIDTH - RIGHT - 210
        yield _text(x - 10 if beyond else x + 10, y - 8, words, "end" if beyond else "start", colour=colour, halo=True)

    def _scaled(self, factor: float) -> list[Place]:
        """Both rates by a factor, cut off where physics ends."""
        answer = self.answer
        ends = (answer.prefill.ceiling_tps, answer.decode.ceiling_tps)
        return [(min(x * factor, max(x, ends[0])), min(y * factor, max(y, ends[1]))) for x, y in self.curve]

    def _at(self, place: Place) -> Place:
        x, y = place
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + across * x / self.x_ticks[-1], HEIGHT - BOTTOM - up * y / self.y_ticks[-1]

    def _path(self, places: Iterable[Place]) -> str:
        return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in map(self._at, places))


def _text(
    x: float,
    y: float,
    words: str,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
    colour: str = INK,
    halo: bool = False,
) -> str:
    edge = ' stroke="#ffffff" stroke-width="4" paint-order="stroke" stroke-linejoin="round"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}"{edge}>{escape(words)}</text>'
    )


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least `most`, some five of them."""
    rough = most / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * nice for nice in (1, 2, 2.5, 5, 10) if unit * nice >= rough)
    return [step * number for number in range(math.ceil(most / step) + 1)]
