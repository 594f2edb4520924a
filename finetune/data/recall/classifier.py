"""How much a text is like a tenant's own: a linear classifier over hashed words and pairs of words, made for one fine-tune.

The same texts and seed give the same scores: hashing has no vocabulary, and liblinear runs in one thread.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

FEATURES = 1 << 18
TEXT_CHARACTERS = 20_000  # of a file are looked at
WORDS = r"\w+"
INVERSE_PENALTY = 10.0

Scores = npt.NDArray[np.float64]


class Classifier:
    """Tells the tenant's own texts from others."""

    def __init__(self, own: Sequence[str], others: Sequence[str], seed: int) -> None:
        # Names in code are words of their own, however they are written; a file's length says nothing.
        self._words = HashingVectorizer(
            token_pattern=WORDS, ngram_range=(1, 2), n_features=FEATURES, alternate_sign=False, lowercase=False
        )
        self._model = LogisticRegression(
            C=INVERSE_PENALTY, class_weight="balanced", solver="liblinear", random_state=seed % 2**32
        )
        self._model.fit(self._counted([*own, *others]), [1] * len(own) + [0] * len(others))

    def scores(self, texts: Sequence[str]) -> Scores:
        """One for each text: above 0 where it looks like the tenant's own, more the surer it is."""
        found: Scores = self._model.decision_function(self._counted(texts))
        return found

    def _counted(self, texts: Sequence[str]) -> object:
        return self._words.transform([text[:TEXT_CHARACTERS] for text in texts])


def balanced_accuracy(model: Classifier, own: Sequence[str], others: Sequence[str]) -> float:
    """The mean share of each side that is recognised; both sides must have some."""
    return float(np.mean(model.scores(own) > 0) + np.mean(model.scores(others) <= 0)) / 2
