"""From links between pairs of cards to groups of cards that reach each other over them."""

from collections.abc import Iterable


def named_groups(cards: Iterable[int], links: dict[str, set[tuple[int, int]]]) -> dict[int, str]:
    """The group of each card, `nvlink-0` for instance; "" for a card without a link.

    `links` are pairs of card numbers by kind of link, the fastest kind first: a card belongs to its fastest.
    """
    groups = dict.fromkeys(cards, "")
    for kind, pairs in links.items():
        parts = [part for part in _parts(set(groups), pairs) if len(part) > 1]
        for number, part in enumerate(sorted(parts, key=min)):
            for card in part:
                groups[card] = groups[card] or f"{kind}-{number}"
    return groups


def _parts(cards: set[int], pairs: set[tuple[int, int]]) -> list[set[int]]:
    parts: list[set[int]] = []
    for card in sorted(cards):
        linked = {card} | {b for a, b in pairs if a == card} | {a for a, b in pairs if b == card}
        touched = [part for part in parts if part & linked]
        parts = [part for part in parts if not part & linked]
        parts.append((linked & cards).union(*touched))
    return parts
