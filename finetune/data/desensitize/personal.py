"""All rules for personal data, in order: each sees only what the ones before left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from finetune.data.desensitize import addresses, numbers
from finetune.data.desensitize.names import names
from finetune.data.desensitize.spans import Span, masked, without_escapes, without_overlaps

RULES: dict[str, Callable[[str], Iterator[Span]]] = {
    "resident_id": numbers.resident_ids,
    "company_code": numbers.company_codes,
    "bank_card": numbers.bank_cards,
    "email": addresses.emails,
    "ipv6": addresses.ipv6,
    "ipv4": addresses.ipv4,
    "phone": numbers.phones,
    "person_name": names,
}


def find(text: str) -> list[Span]:
    """Personal data in a text (secrets already masked), in no order, without overlaps."""
    left, found = without_escapes(text), []
    for rule in RULES.values():
        spans = without_overlaps(left, rule(left))
        found += spans
        left = masked(left, spans) if spans else left
    return found
