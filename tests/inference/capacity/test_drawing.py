"""The frontier's picture: well-formed, with its parts in their places."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from inference.capacity.drawing import frontier_svg
from inference.capacity.question import Target
from tests.inference.capacity.asking import ask

SVG = "{http://www.w3.org/2000/svg}"


def parts(svg: str, tag: str, kind: str) -> list[ElementTree.Element]:
    return [part for part in ElementTree.fromstring(svg).iter(SVG + tag) if part.get("class") == kind]


def test_it_draws_the_frontier_its_band_and_the_pairs_inside_the_picture() -> None:
    svg = frontier_svg(ask("8xH20-96", "fp8"))
    for kind in ("frontier", "band"):
        (path,) = parts(svg, "path", kind)
        places = [tuple(map(float, place.split())) for place in path.attrib["d"].strip("MZ ").split(" L")]
        assert all(84 <= x <= 732.1 and 66 <= y <= 422.1 for x, y in places)
    low, high = (float(pair.attrib["cy"]) for pair in parts(svg, "circle", "pair"))
    assert high < low, "more output lies higher"
    for words in ("input tokens/s", "output tokens/s", "20,000 + 5,000: unlikely", "experts spread"):
        assert words in svg


def test_it_draws_where_physics_ends_when_that_is_in_sight() -> None:
    answer = ask("8xH20-96", "bf16", targets=(Target(60_000, 60_000),))
    assert len(parts(frontier_svg(answer), "line", "ceiling")) == 2
    assert "impossible" in frontier_svg(answer)


@pytest.mark.parametrize("targets", [(), (Target(0, 0),)])
def test_a_box_that_does_nothing_is_drawn_too(targets: tuple[Target, ...]) -> None:
    svg = frontier_svg(ask("8x910b3", "bf16", targets=targets))
    assert "Not possible: 471.5 GB" in svg
    assert len(parts(svg, "path", "frontier")) == 1
