"""What all workers of a gateway know of each other: each replica's load, each worker's queue heads, each tenant's counter.

One mapped file. A worker writes its own region and reads all of them; no value has two writers, so that nothing is
locked while requests come and go. Names get their places under the file's lock, once.

Loads and heads of a dead worker count as zero. Counters of service do not: what was served stays served, whoever did it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from inference.gateway.board_file import REGIONS, BoardFile, started_ticks

# The header, then names, then regions: pid, start, time of the heads; per life three words; per share one.
EPOCH, NUM_REGIONS, HEADER_WORDS = 1, 2, 8
LIVES, SHARES = 256, 2048
LOOKED_AT = 64  # of the counters, where a new one has to take another's place
LIFE_WORDS = 4  # sequences, tokens, head, one spare
LIFE_NAMES = HEADER_WORDS
SHARE_NAMES = LIFE_NAMES + LIVES
CLOCKS = SHARE_NAMES + SHARES
FIRST_REGION = CLOCKS + SHARES
PID, STARTED, HEADS_AT, NUM_HEADS, REGION_HEADER = 0, 1, 2, 3, 4
REGION_SHARES = REGION_HEADER + LIVES * LIFE_WORDS
REGION_WORDS = REGION_SHARES + SHARES
NUM_WORDS = FIRST_REGION + REGIONS * REGION_WORDS

HEADS_HOLD_NS = 250_000_000  # heads that are older belong to a worker that is stuck: nobody waits for it
NO_HEAD = 1 << 62


class Board:
    """This worker's region, and the sight of all others."""

    def __init__(self, path: Path) -> None:
        self._file = BoardFile(path, NUM_WORDS)
        self._words = self._file.words
        self._lives: dict[str, tuple[int, int]] = {}
        self._shares: dict[str, tuple[int, int]] = {}
        self._own_heads: set[int] = set()
        self._epoch = -1
        self.closed = False
        self._regions: list[int] = []  # of the living, this worker's own included
        self._others: list[int] = []
        self._region = self._claim()

    # --- regions

    def _claim(self) -> int:
        """A region of this process' own; without a free one, none is shared and the last one is written over."""
        pid = os.getpid()
        with self._file.locked():
            self._free_dead()
            free = [number for number in range(REGIONS) if not self._words[_region(number) + PID]]
            number = free[0] if free else REGIONS - 1
            region = _region(number)
            self._clear(region)
            self._words[region + STARTED] = started_ticks(pid) or 0
            self._words[region + PID] = pid
            self._words[NUM_REGIONS] = max(self._words[NUM_REGIONS], number + 1)
            self._words[EPOCH] += 1
        return region

    def _free_dead(self) -> None:
        for number in range(self._words[NUM_REGIONS]):
            region = _region(number)
            if self._words[region + PID] and not self._is_alive(region):
                self._clear(region)
                self._words[EPOCH] += 1

    def _is_alive(self, region: int) -> bool:
        return started_ticks(self._words[region + PID]) == self._words[region + STARTED]

    def _clear(self, region: int) -> None:
        """Everything but the counters of service."""
        for word in range(region, region + REGION_SHARES):
            self._words[word] = 0

    def _look_around(self) -> None:
        self._epoch = self._words[EPOCH]
        known = [_region(number) for number in range(self._words[NUM_REGIONS])]
        self._others = [one for one in known if one != self._region and self._words[one + PID]]
        self._regions = [self._region, *self._others]

    def sweep(self) -> None:
        """Called every second: free what dead workers left."""
        self._look_around()
        if not all(self._is_alive(region) for region in self._others):
            with self._file.locked():
                self._free_dead()

    def close(self) -> None:
        """This worker is done."""
        self.closed = True
        with self._file.locked():
            self._clear(self._region)
            self._words[EPOCH] += 1
        self._file.close()

    # --- names

    def life(self, life_id: str) -> int:
        """The place of a replica's life."""
        found = self._lives.get(life_id)
        if found is not None and self._words[LIFE_NAMES + found[0]] == found[1]:
            return found[0]
        return self._name(self._lives, LIFE_NAMES, LIVES, life_id)

    def share(self, name: str) -> int:
        """The place of a counter."""
        found = self._shares.get(name)
        if found is not None and self._words[SHARE_NAMES + found[0]] == found[1]:
            return found[0]
        return self._name(self._shares, SHARE_NAMES, SHARES, name)

    def _name(self, cache: dict[str, tuple[int, int]], table: int, size: int, name: str) -> int:
        digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1 | 1
        with self._file.locked():
            names = self._words[table : table + size].tolist()
            if digest in names:
                place = names.index(digest)
            elif 0 in names:
                place = names.index(0)
            else:
                place = self._unused(table, size, digest)
            self._words[table + place] = digest
        if len(cache) >= 2 * size:
            cache.clear()
        cache[name] = place, digest
        return place

    def _unused(self, table: int, size: int, digest: int) -> int:
        """A place to take over: of a life that nobody has a request at; of a few counters the least.

        Whoever is served has a high one, lifted with all others: the least is most likely nobody's any more, and no
        burden for who gets it.
        """
        start = digest % size
        places = (*range(start, size), *range(start))
        if table == LIFE_NAMES:
            return next((place for place in places if self.load(place) == (0, 0)), start)
        least: int = min(places[:LOOKED_AT], key=lambda one: max(self.served(one), self.clock(one)))
        self.set_clock(least, 0)
        return least

    # --- loads

    def load(self, life: int) -> tuple[int, int]:
        """Sequences and tokens outstanding at a replica, over all living workers."""
        words = self._words
        if words[EPOCH] != self._epoch:
            self._look_around()
        at = REGION_HEADER + life * LIFE_WORDS
        sequences = tokens = 0
        for region in self._regions:
            sequences += words[region + at]
            tokens += words[region + at + 1]
        return sequences, tokens

    def add(self, life: int, sequences: int, tokens: int) -> None:
        """Requests of this worker begin (or, below zero, end) at a replica."""
        at = self._region + REGION_HEADER + life * LIFE_WORDS
        self._words[at] += sequences
        self._words[at + 1] += tokens

    # --- heads

    def shows_heads(self) -> bool:
        """Whether anything waits in another worker."""
        words = self._words
        if words[EPOCH] != self._epoch:
            self._look_around()
        return any([words[region + NUM_HEADS] for region in self._others])  # noqa: C419 - a third of a generator's time

    def head(self, life: int) -> int:
        """The least key of what waits in the other workers for this replica; NO_HEAD where nothing does."""
        words = self._words
        if words[EPOCH] != self._epoch:
            self._look_around()
        at = REGION_HEADER + life * LIFE_WORDS + 2
        least = NO_HEAD
        for region in self._others:
            found = words[region + at]
            if found and found - 1 < least and time.monotonic_ns() - words[region + HEADS_AT] < HEADS_HOLD_NS:
                least = found - 1
        return least

    def show_heads(self, heads: Mapping[int, int]) -> None:
        """The least key of what waits here, by the replica's place; replaces what was shown before."""
        at = self._region + REGION_HEADER + 2
        self._words[self._region + HEADS_AT] = time.monotonic_ns()
        for life in self._own_heads - heads.keys():
            self._words[at + life * LIFE_WORDS] = 0
        for life, key in heads.items():
            self._words[at + life * LIFE_WORDS] = key + 1
        self._own_heads = set(heads)
        self._words[self._region + NUM_HEADS] = len(heads)

    # --- service

    def served(self, share: int) -> int:
        """A counter of service, over all workers there ever were."""
        words, at, total = self._words, FIRST_REGION + REGION_SHARES + share, 0
        for number in range(words[NUM_REGIONS]):
            total += words[at + number * REGION_WORDS]
        return total

    def serve(self, share: int, amount: int) -> None:
        """Add to a counter; below zero what was charged and not used."""
        self._words[self._region + REGION_SHARES + share] += amount

    def clock(self, share: int) -> int:
        """Where the service of a whole lane stands: the counter of whoever was served last, by any worker."""
        return self._words[CLOCKS + share]

    def set_clock(self, share: int, value: int) -> None:
        """All workers write this one; the last to do so is right."""
        self._words[CLOCKS + share] = value


def _region(number: int) -> int:
    return FIRST_REGION + number * REGION_WORDS
