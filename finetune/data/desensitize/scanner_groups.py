"""Which texts the scanner reads together: such as wait for the same rules.

The scanner tries a rule on all that it gets if one of the rule's words is in it, and nearly every word stands somewhere in a
large upload: everything read at once would be read by every rule. So texts go by their rarest word into a few groups. A text is
never divided, so that what a word in it wakes sees all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from finetune.data.desensitize import scanner_words

# The words of the rule for keys of any kind: most texts have no others.
COMMON = frozenset(
    ("access", "api", "auth", "credential", "creds", "key", "passwd", "password", "secret", "token", "test_")
)
# Each call takes the scanner 10 ms, and some more for each rule that is woken.
MOST_GROUPS = 24
FEWEST_CHARACTERS = 20_000


def of(parts: Mapping[int, Sequence[str]]) -> list[list[int]]:
    """The numbers of texts in groups, given the parts of them that are to be read."""
    words = scanner_words.words_of_rules()
    if words is None:
        return [list(parts)] if parts else []
    found = {number: words.among(some) - COMMON for number, some in parts.items()}
    plain = [number for number, some in found.items() if not some]
    groups = _by_rarest({number: some for number, some in found.items() if some}, parts)
    return [group for group in (plain, *groups) if group]


def _by_rarest(found: Mapping[int, frozenset[str]], parts: Mapping[int, Sequence[str]]) -> list[list[int]]:
    """Texts by the rarest of their words, neighbours in the alphabet in one group until it is large enough."""
    counts = Counter(word for some in found.values() for word in some)
    rarest = {number: min(some, key=lambda word: (counts[word], word)) for number, some in found.items()}
    sizes = {number: sum(map(len, parts[number])) for number in found}
    enough = max(FEWEST_CHARACTERS, sum(sizes.values()) // MOST_GROUPS)
    groups: list[list[int]] = []
    room, last = 0, ""
    for number in sorted(found, key=lambda number: (rarest[number], number)):
        if room <= 0 and rarest[number] != last:
            groups.append([])
            room = enough
        groups[-1].append(number)
        room -= sizes[number]
        last = rarest[number]
    return [sorted(group) for group in groups]
