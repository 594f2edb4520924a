"""Editor sessions: the newest request of a session ends the older one, whichever worker has it.

One mapped file for all workers. A session's place holds one word, a mark of its name and the arrival of its newest request:
written when a request comes, read every few milliseconds by whoever has a request of that session. Names are hashed with
the gateway's secret, so that nobody can choose one that meets another's. Two sessions that share a place only miss
each other's notes; no request ends without a newer one of its own name.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference.gateway import errors
from inference.gateway.board_file import BoardFile

log = logging.getLogger(__name__)

MAX_NAME_BYTES = 128
LOOK_AGAIN_S = 0.01
_PLACE_BITS, _MARK_BITS, _TICK_BITS = 13, 27, 36
_TICK_MASK = (1 << _TICK_BITS) - 1
_TICKS_PER_S = 10_000
# Arrivals wrap around after 79 days, and start anew with the machine. No request runs for as long as this, and on its way
# to being admitted a newer one can't have been for as long as that: what seems newer still is what a dead worker left.
_RUNS_S, _LATE_S = 3600, 60
# A word stays for a while when its request is done, so that every worker has seen it.
LINGER_S = 1.0


class Holder(Protocol):
    """A request of a session."""

    @property
    def ended(self) -> bool:
        """Whether it needs no more ending."""

    def supersede(self) -> None:
        """End: a newer one came."""


@dataclass
class _Claim:
    holder: Holder
    place: int
    word: int
    ended_at: float | None = None


class Sessions:
    """This worker's requests with a session, and the sight of the others' newest."""

    def __init__(self, path: Path, secret: bytes) -> None:
        self._file = BoardFile(path, 1 + (1 << _PLACE_BITS))
        self._words = self._file.words
        self._secret = hashlib.sha256(b"editor sessions" + secret).digest()
        self._claims: dict[bytes, _Claim] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._claims)

    def claim(self, scope: tuple[str, ...], name: bytes, arrived: float, holder: Holder) -> None:
        """A request has come, at that moment of the monotonic clock: it ends the older one of the same scope and name.

        Raises: ApiError 400 superseded where it is itself the older one.
        """
        # The scope's own length is told, so that no name can be read as a part of it.
        told = "\n".join((str(len(scope)), *scope)).encode() + b"\0" + name
        hashed = hashlib.blake2b(told, key=self._secret, digest_size=16).digest()
        number = int.from_bytes(hashed[:5], "little")
        place, mark = 1 + (number & ((1 << _PLACE_BITS) - 1)), number >> _PLACE_BITS
        word = mark << _TICK_BITS | int(arrived * _TICKS_PER_S) & _TICK_MASK
        older = self._claims.get(hashed)
        if _is_newer(self._words[place], word, _LATE_S) or (older is not None and _is_newer(older.word, word, _LATE_S)):
            raise errors.superseded()
        self._words[place] = word
        self._claims[hashed] = _Claim(holder, place, word)
        if older is not None:
            self._end(older)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_AGAIN_S, self._look)

    def _look(self) -> None:
        for hashed, claim in list(self._claims.items()):
            found = self._words[claim.place]
            if claim.holder.ended:
                self._forget(hashed, claim, found)
            elif _is_newer(found, claim.word, _RUNS_S):
                del self._claims[hashed]
                self._end(claim)
            elif _is_newer(claim.word, found, _RUNS_S):
                self._words[claim.place] = claim.word  # an older one wrote in the same moment
        self._timer = self._loop.call_later(LOOK_AGAIN_S, self._look) if self._claims else None

    def _forget(self, hashed: bytes, claim: _Claim, found: int) -> None:
        """Its place is emptied, if it is still its own, once all have had the time to look."""
        if claim.ended_at is None:
            claim.ended_at = self._loop.time()
        if found != claim.word or self._loop.time() - claim.ended_at > LINGER_S:
            del self._claims[hashed]
            if found == claim.word:
                self._words[claim.place] = 0

    def _end(self, claim: _Claim) -> None:
        if claim.holder.ended:
            return
        try:
            claim.holder.supersede()
        except Exception:
            # One request's fault must not keep the others of all sessions running.
            log.exception("ending a superseded request failed")

    def close(self) -> None:
        """This worker is done."""
        if self._timer is not None:
            self._timer.cancel()
        for claim in self._claims.values():
            if self._words[claim.place] == claim.word:
                self._words[claim.place] = 0
        self._claims.clear()
        self._file.close()


def name_of(header: bytes | None, field: object) -> bytes | None:
    """The session that a client names, by header or else in the body; None where there is none that could be one."""
    name = header if header is not None else field.encode(errors="surrogatepass") if isinstance(field, str) else b""
    return name if 0 < len(name) <= MAX_NAME_BYTES else None


def now() -> float:
    """The clock of arrivals, the same for all workers."""
    return time.monotonic()


def _is_newer(one: int, other: int, within_s: int) -> bool:
    """Whether a word tells of a later request of the same session, no later than so long."""
    if one >> _TICK_BITS != other >> _TICK_BITS:
        return False
    return 0 < (one - other) & _TICK_MASK < within_s * _TICKS_PER_S
