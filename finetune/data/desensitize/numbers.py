"""Numbers that identify people or companies. Each is checked (checksum, numbering plan), because code is full of digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
from stdnum import luhn
from stdnum.cn import ric, uscc
from stdnum.exceptions import ValidationError

from finetune.data.desensitize.on_lines import matches_with_digits
from finetune.data.desensitize.spans import Span

# ASCII everywhere: a number right beside Chinese characters is a number still.
RESIDENT_ID = re.compile(r"(?a)(?<![\w.])[1-9]\d{16}[\dXx](?!\w|\.\d)")
COMPANY_CODE = re.compile(r"(?a)(?<!\w)[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}(?!\w)")
# Prefixes of Visa, Mastercard, American Express, UnionPay, Discover and JCB.
CARD = re.compile(
    r"(?a)(?<![\w.+-])(?=4|5[1-5]|2[2-7]|3[47]|62|6011|65|35)(?:\d{13,19}|\d{4}(?P<gap>[ -])\d{4}(?P=gap)\d{4}(?P=gap)\d{1,4}"
    r"(?:(?P=gap)\d{1,3})?|\d{4}(?P<gap2>[ -])\d{6}(?P=gap2)\d{5})(?!\w|\.\d|-\d)"
)
PHONES = (
    # Chinese mobile numbers, with or without the country code; the `+` stays, it is valid before an identifier too.
    re.compile(r"(?a)(?<![\w.])(?:0086[ -]?|86[ -]?)?1[3-9]\d(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?!\w|\.\d|-\d)"),
    re.compile(r"(?a)(?<![\w.-])\(?0\d{2,3}\)?[ -]\d{7,8}(?!\w|\.\d|-\d)"),
    re.compile(r"(?a)(?<=\+)[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\w|\.\d|-\d)"),
    re.compile(r"(?a)(?<![\w.-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}-)\d{3}-\d{4}(?!\w|\.\d|-\d)"),
)
# A part of whatever the patterns find, each digit written as 0: far faster to look for.
HAS_RESIDENT_ID, HAS_COMPANY_CODE = (b"0" * 17,), (b"0" * 6,)
HAS_CARD = (b"0" * 13, b"0000 0000", b"0000-0000")
HAS_PHONE = ((b"0" * 8, b"0000 0000", b"0000-0000"), (b"0" * 7,), (b"+0",), (b"0-0000",))
# GB/T 2260.
PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()  # noqa: SIM905 - a table of codes
)
LAST_GROUP = re.compile(r"(?a)(?:[ .()-]+\d*|\d+)\)?$")
MIN_WRITTEN = 7
REGIONS = ("CN", "CN", None, "US")


def resident_ids(text: str) -> Iterator[Span]:
    for match in matches_with_digits(RESIDENT_ID, HAS_RESIDENT_ID, text):
        if _is_resident_id(match[0].upper()):
            yield Span(match.start(), match.end(), "resident_id", "RESIDENT_ID", match[0].upper())


def _is_resident_id(number: str) -> bool:
    """Checksum, date and province. Not the county at the year of birth: numbers were given out long after many births."""
    try:
        ric.get_birth_date(number)
    except ValidationError:
        return False
    return number[:2] in PROVINCES and ric.calc_check_digit(number) == number[-1]


def company_codes(text: str) -> Iterator[Span]:
    for match in matches_with_digits(COMPANY_CODE, HAS_COMPANY_CODE, text):
        if match[0][2:4] in PROVINCES | {"10"} and uscc.is_valid(match[0]):
            yield Span(match.start(), match.end(), "company_code", "COMPANY_CODE", match[0])


def bank_cards(text: str) -> Iterator[Span]:
    for match in matches_with_digits(CARD, HAS_CARD, text):
        digits = re.sub(r"\D", "", match[0])
        if 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield Span(match.start(), match.end(), "bank_card", "BANK_CARD", digits)


def phones(text: str) -> Iterator[Span]:
    end = 0
    found = sorted(
        (match.start(), match.end(), index)
        for index, (one, hint) in enumerate(zip(PHONES, HAS_PHONE, strict=True))
        for match in matches_with_digits(one, hint, text)
    )
    for start, stop, index in found:
        if start >= end and (valid := _longest_number(text[start:stop], REGIONS[index])):
            written, number = valid
            end = start + len(written)
            yield Span(start, end, "phone", "PHONE", number)


def _longest_number(written: str, region: str | None) -> tuple[str, str] | None:
    """The longest valid beginning: numbers in a row look like groups of one number."""
    while len(written) >= MIN_WRITTEN:
        if number := _number(written, region):
            return written, number
        written = LAST_GROUP.sub("", written)
    return None


def _number(written: str, region: str | None) -> str | None:
    """The international form when the numbering plan knows it: one key for all ways to write a number."""
    if region == "CN" and written.startswith(("0086", "86")):
        written = "+" + written.removeprefix("00")
    try:
        number = phonenumbers.parse(written if region else "+" + written, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
