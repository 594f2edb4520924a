"""Seeded chance, and the words and names that made-up code consists of."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"
BASE64 = ALNUM + "+/"
URLSAFE = ALNUM + "-_"
WORDS = tuple(
    "account amount archive audit balance basket batch billing branch bucket buffer bundle cache campaign card carrier "
    "catalog channel charge client cluster column contract coupon course crawler customer delivery device document draft "
    "employee engine event feature fleet folder gateway group handler index inventory invoice item job "
    "journal ledger lesson letter loader meter mirror module monitor notice offer order packet page parcel partner "
    "payment pipeline planner portal price product profile quota ranking record refund region report request "
    "review route sample schedule search segment sensor session shelf shipment signal stock store stream student "
    "summary supplier ticket tracker transfer user vehicle vendor version voucher warehouse worker".split()
)
PEOPLE = tuple(
    "anna ben carla david elena felix grace hannah ivan julia kevin laura marco nina oscar paula robert sofia thomas "
    "vera wei li na min jun hao xin lei fang yan tao jing peng qiang zhang wang chen liu yang huang zhao wu zhou xu sun "
    "mueller schmidt garcia rossi novak silva dubois jansen kowalski tanaka kim patel".split()
)


class Draw:
    """A source of chance: the same seed draws the same."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - reproducible on purpose

    def chars(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def one(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self._random.sample(items, len(items))

    def raw(self, length: int) -> bytes:
        return self._random.randbytes(length)

    def word(self) -> str:
        return self.one(WORDS)

    def name(self) -> str:
        """An identifier of two words."""
        return f"{self.word()}_{self.word()}"

    def host(self) -> str:
        return f"{self.word()}-{self.number(1, 40)}.{self.word()}{self.one(WORDS)}.{self.one(('com', 'net', 'cn', 'io', 'internal'))}"
