"""The little linear algebra that a fit of six figures takes."""

from __future__ import annotations

from collections.abc import Sequence

Vector = list[float]
Matrix = list[Vector]


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    """Inner product."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def times(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> Vector:
    """Matrix times vector."""
    return [dot(row, vector) for row in matrix]


def inverse(matrix: Sequence[Sequence[float]]) -> Matrix:
    """Inverse of a positive definite matrix, by Gauss and Jordan without pivoting."""
    size = len(matrix)
    wide = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = wide[column][column]
        wide[column] = [value / pivot for value in wide[column]]
        for other in range(size):
            if other != column:
                factor = wide[other][column]
                wide[other] = [a - factor * b for a, b in zip(wide[other], wide[column], strict=True)]
    return [row[size:] for row in wide]
