"""Cleans texts in two passes over a data set: first learn all secrets, then replace them and personal data, text by text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from finetune.data.desensitize import credentials, personal, private_keys, scanner, vendor_keys
from finetune.data.desensitize.placeholders import CONTEXT_CHARACTERS, Placeholders
from finetune.data.desensitize.spans import Span, masked, without_overlaps
from finetune.data.desensitize.vocabulary import Vocabulary

# The scanner prepares its rules at each call, for a second in all: fewer and larger batches share it.
BATCH_CHARACTERS = 16 * 1024 * 1024
LOOK_CHARACTERS = 1024 * 1024  # after so many the caller may look how much is held


@dataclass(frozen=True)
class Cleaned:
    """A text without what was found in it; `spans` are the places of the placeholders in it, for excerpts."""

    text: str
    spans: tuple[Span, ...]


class Cleaner:
    """Everything learned about one data set. `learn` every text, then `clean` each, in the same order."""

    def __init__(self, placeholders: Placeholders) -> None:
        self.placeholders = placeholders
        self.unclean: set[int] = set()
        self._vocabulary = Vocabulary()
        # Betterleaks' findings by row: they stand even where a longer word surrounds them.
        self._found: dict[int, dict[str, str]] = {}
        # What the rules found in the texts already learned, by the text's hash: looking twice takes as long again.
        self._learned: set[int] = set()
        self._spans: dict[int, tuple[Span, ...]] = {}
        self._num_spans = 0

    @property
    def num_values(self) -> int:
        """How many findings are held in memory."""
        return max(self._num_spans, self.placeholders.num_distinct)

    def learn(self, rows: Iterable[tuple[int, Sequence[str]]]) -> Iterator[int]:
        """Take in numbered rows of texts; yields the number of rows read so far, often enough to look at `num_values`.

        Rows with a secret that can't be located end up in `unclean` and must not be used.
        """
        batch: list[tuple[int, str]] = []
        size = learned = 0
        for number, texts in rows:
            batch += [(number, text) for text in texts]
            size += sum(map(len, texts))
            learned += 1
            if size >= BATCH_CHARACTERS:
                for _ in self._learn_batch(batch):
                    yield learned
                batch, size = [], 0
        if batch:
            for _ in self._learn_batch(batch):
                yield learned

    def _learn_batch(self, batch: list[tuple[int, str]]) -> Iterator[None]:
        for found in scanner.scan([text for _, text in batch]):
            number = batch[found.index][0]
            if found.value is None:
                self.unclean.add(number)
            else:
                self._found.setdefault(number, {})[found.value] = found.rule
                self._vocabulary.add(found.value, found.rule, "SECRET")
        yield
        size = 0
        for number, text in batch:
            if size >= LOOK_CHARACTERS:
                size = 0
                yield
            size += len(text)
            spans = _by_rules(text)
            self._learned.add(hash((number, text)))
            if spans:
                self._spans[hash((number, text))] = spans
                self._num_spans += len(spans)
            for span in spans:
                self._vocabulary.add(span.key, span.rule, span.kind)
        yield

    def clean(self, number: int, text: str) -> Cleaned:
        """The text with placeholders for all secrets and personal data."""
        return self._replaced(text, self.find(number, text))

    def find(self, number: int, text: str) -> list[Span]:
        """All secrets and personal data of a text, in order."""
        secrets = without_overlaps(text, self._secrets(number, text))
        people = personal.find(masked(text, secrets) if secrets else text)
        return sorted((*secrets, *people), key=lambda span: span.start)

    def _secrets(self, number: int, text: str) -> Iterator[Span]:
        key = hash((number, text))
        yield from self._spans.get(key, ()) if key in self._learned else _by_rules(text)
        yield from self._vocabulary.find(text)
        for value, rule in self._found.get(number, {}).items():
            start = text.find(value)
            while start >= 0:
                yield Span(start, start + len(value), rule, "SECRET", value)
                start = text.find(value, start + len(value))

    def _replaced(self, text: str, spans: Sequence[Span]) -> Cleaned:
        cleaned, position = "", 0
        places: list[Span] = []
        pieces: list[str] = []
        for span in spans:
            pieces.append(text[position : span.start])
            cleaned = (cleaned + pieces[-1])[-CONTEXT_CHARACTERS:]
            name = self.placeholders.name(span, text[span.start : span.end], cleaned)
            start = (places[-1].end if places else 0) + len(pieces[-1])
            places.append(Span(start, start + len(name), span.rule, span.kind, name))
            pieces.append(name)
            cleaned = (cleaned + name)[-CONTEXT_CHARACTERS:]
            position = span.end
        return Cleaned("".join([*pieces, text[position:]]), tuple(places))


def _by_rules(text: str) -> tuple[Span, ...]:
    return (*vendor_keys.find(text), *private_keys.find(text), *credentials.find(text))
