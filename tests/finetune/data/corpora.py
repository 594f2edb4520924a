"""Made source files of two trades that share no words but Python's: a shop's and a telescope's."""

from __future__ import annotations

from collections.abc import Sequence

SHOP = ("basket", "invoice", "customer", "refund", "voucher", "parcel", "stock", "checkout", "discount", "receipt")
SKY = ("telescope", "galaxy", "spectrum", "orbit", "parallax", "exposure", "mirror", "comet", "redshift", "eclipse")


def file_about(words: Sequence[str], number: int) -> str:
    """A module unlike those of other numbers."""
    chosen = [words[(number * step + step) % len(words)] for step in (1, 3, 7)]
    parts = [f'"""About {chosen[0]} and {chosen[1]}, part {number}."""\n']
    for place, word in enumerate(words):
        value = (number + 3) * (place + 7) * 7919 % 99991
        parts.append(
            f"\n\ndef {word}_{chosen[place % 3]}_{value}(given_{value}):\n"
            f"    {word} = given_{value} + {value}\n    return {chosen[(place + 1) % 3]}_of({word}, {value * 3})\n"
        )
    return "".join(parts)


def shop(count: int, first: int = 0) -> dict[str, str]:
    """Files of a shop by path."""
    return {f"shop/part_{number}.py": file_about(SHOP, number) for number in range(first, first + count)}


def sky(count: int, first: int = 0) -> dict[str, str]:
    """Files of a telescope by path."""
    return {f"sky/part_{number}.py": file_about(SKY, number) for number in range(first, first + count)}
