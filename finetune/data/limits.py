"""How much an upload may hold. One frozen value, so that tests can reach every limit with a small file."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limits:
    """Bounds of one upload. A ratio counts only above `ratio_floor_bytes`: small files of blanks pack a thousandfold."""

    source_bytes: int = 2048 * MIB
    row_bytes: int = 64 * KIB
    rows: int = 1_000_000
    members: int = 500_000
    unpacked_bytes: int = 3072 * MIB
    ratio: int = 100
    values: int = 250_000  # secrets with their repetitions, or different secrets and personal data: all stay in memory
    order_bytes: int = 256 * MIB  # paths and imported names in memory; above it files stay in the upload's order
    licence_bytes: int = 16 * MIB  # directories of licence files in memory; the licence files above it aren't read
    ratio_floor_bytes: int = 16 * MIB
    member_bytes: int = MIB
    name_bytes: int = 1024
    header_bytes: int = 64 * KIB
    free_bytes: int = 1024 * MIB  # of the disk, for everybody's journals and database


DEFAULT = Limits()
