"""MinHash sketches of texts over runs of five tokens, computed for all of a text at once.

The permutations and the mixing are datasketch's (scheme affine32): the same hashes give the same sketch there. Only the hashes
of the runs are made here, because one Python call for each of them is most of the time that near duplicates take.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from datasketch import MinHash  # type: ignore[import-untyped]

NUM_PERMUTATIONS = 128
SEED = 1
SCHEME = "affine32"
PERMUTATIONS = MinHash(num_perm=NUM_PERMUTATIONS, seed=SEED, scheme=SCHEME).permutations
SHINGLE_TOKENS = 5
SHINGLES_AT_ONCE = 512  # so that their permutations stay in a core's cache
PIECE_BYTES = 1 << 16
BLANK, WORD, SIGN = 0, 1, 2

Sketch = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint32]
_Wide = npt.NDArray[np.uint64]

# Odd numbers: multiplying by them loses nothing, so that a token's hash doesn't depend on where it stands.
BASE = 0x9E3779B97F4A7C15
ORDER = np.array([(BASE * (2 * place + 3)) % 2**64 | 1 for place in range(SHINGLE_TOKENS)], dtype=np.uint64)


def _kinds() -> npt.NDArray[np.uint8]:
    """What each byte is. Those of characters beyond ASCII count as parts of words."""
    table = np.full(256, WORD, dtype=np.uint8)
    for byte in range(128):
        sign = chr(byte)
        table[byte] = BLANK if sign.isspace() else WORD if sign.isalnum() or sign == "_" else SIGN
    return table


def _powers(of: int) -> _Wide:
    factors = np.full(PIECE_BYTES, of, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


KINDS = _kinds()
WEIGHTS = np.where(KINDS == BLANK, 0, np.arange(256) * 2 + 1).astype(np.uint64)
POWERS = _powers(BASE)
INVERSES = _powers(pow(BASE, -1, 2**64))


def sketch_of(text: str) -> Sketch:
    """The text's sketch: (128,) uint32."""
    return sketch_of_hashes(shingles_of(text))


def sketch_of_hashes(hashes: Hashes) -> Sketch:
    """The least value of each permutation over all hashes."""
    mixed = _mixed(hashes)
    factors, offsets = (part[:, None] for part in PERMUTATIONS)
    sketch = np.full(NUM_PERMUTATIONS, 0xFFFFFFFF, dtype=np.uint32)
    room = np.empty((NUM_PERMUTATIONS, SHINGLES_AT_ONCE), dtype=np.uint32)
    for start in range(0, len(mixed), SHINGLES_AT_ONCE):
        some = mixed[None, start : start + SHINGLES_AT_ONCE]
        permuted = room[:, : some.shape[1]]
        np.multiply(factors, some, out=permuted)
        permuted += offsets
        np.minimum(sketch, permuted.min(axis=1), out=sketch)
    return sketch


def shingles_of(text: str) -> Hashes:
    """A hash of each run of five tokens; of the whole text where it has fewer."""
    tokens = np.concatenate([_tokens(piece) for piece in _pieces(text)])
    if len(tokens) < SHINGLE_TOKENS:
        tokens = np.concatenate((tokens, np.zeros(SHINGLE_TOKENS - len(tokens), dtype=np.uint64)))
    count = len(tokens) - SHINGLE_TOKENS + 1
    runs = np.zeros(count, dtype=np.uint64)
    for place, factor in enumerate(ORDER):
        runs += tokens[place : place + count] * factor
    return np.asarray(runs >> np.uint64(32), dtype=np.uint32)


def _pieces(text: str) -> list[npt.NDArray[np.uint8]]:
    """The text's bytes, cut where no token is cut: at a blank, or anywhere in a word of 64 KiB."""
    data, pieces = text.encode("utf-8", "surrogatepass"), []
    start = 0
    while len(data) - start > PIECE_BYTES:
        end = max(data.rfind(blank, start, start + PIECE_BYTES) for blank in (b"\n", b" ")) + 1
        end = end if end > start else start + PIECE_BYTES
        pieces.append(np.frombuffer(data, np.uint8, end - start, start))
        start = end
    return (
        [*pieces, np.frombuffer(data, np.uint8, -1, start)] if len(data) > start else [*pieces, np.zeros(0, np.uint8)]
    )


def _tokens(data: npt.NDArray[np.uint8]) -> _Wide:
    """A hash of each token: words, and signs one by one."""
    kinds = KINDS[data]
    begins = kinds != BLANK
    begins[1:] &= (kinds[1:] == SIGN) | (kinds[:-1] != WORD)
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    # Blanks weigh nothing, so that the sums between two starts are those of one token.
    sums = np.add.reduceat(WEIGHTS[data] * POWERS[: len(data)], starts)
    sums *= INVERSES[starts]
    sums ^= sums >> np.uint64(29)
    sums *= np.uint64(0xBF58476D1CE4E5B9)  # splitmix64's finalizer
    return np.asarray(sums ^ (sums >> np.uint64(32)), dtype=np.uint64)


def _mixed(hashes: Hashes) -> Hashes:
    """The 32-bit finalizer of MurmurHash3, as datasketch applies it before it permutes."""
    mixed = hashes.copy()
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed
