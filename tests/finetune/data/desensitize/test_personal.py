"""Personal data: each rule with what it takes and what it must leave alone."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from finetune.data.desensitize.censor import censor


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Bob.Smith+x@Corp-Mail.cn", "REDACTED_EMAIL_1"),
        ('"\\tann@x.com"', '"\\tREDACTED_EMAIL_1"'),
        ("联系ann@x.com，谢谢", "联系REDACTED_EMAIL_1，谢谢"),
        ("10.1.2.3:8080", "REDACTED_IP_1:8080"),
        ("http://203.0.114.9/x", "http://REDACTED_IP_1/x"),
        ("ping 2400:3200::1 now", "ping REDACTED_IP_1 now"),
        ("fe80::1ff:fe23:4567:890a", "REDACTED_IP_1"),
        ("13812345678", "REDACTED_PHONE_1"),
        ("138 1234 5678", "REDACTED_PHONE_1"),
        ("手机13812345678。", "手机REDACTED_PHONE_1。"),
        ("主机10.1.2.3的", "主机REDACTED_IP_1的"),
        ("卡4111111111111111号", "卡REDACTED_BANK_CARD_1号"),
        ("码91110000600037341L", "码REDACTED_COMPANY_CODE_1"),
        ("+86 138-1234-5678", "+REDACTED_PHONE_1"),
        ("010-62791234", "REDACTED_PHONE_1"),
        ("+44 20 7946 0958", "+REDACTED_PHONE_1"),
        ("(415) 555-2671", "REDACTED_PHONE_1"),
        ("11010519491231002X", "REDACTED_RESIDENT_ID_1"),
        ("4111111111111111", "REDACTED_BANK_CARD_1"),
        ("6222 0212 3456 7890 128", "REDACTED_BANK_CARD_1"),
        ("4111-1111-1111-1111", "REDACTED_BANK_CARD_1"),
        ("91110000600037341L", "REDACTED_COMPANY_CODE_1"),
    ],
)
def test_personal_data_is_replaced(text: str, cleaned: str) -> None:
    assert censor(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:org/repo.git",
        "y = weights@hidden.shape",
        "@app.route('/')",
        "127.0.0.1 0.0.0.0 255.255.255.0 192.0.2.7 224.0.0.1 8.8.8.8",
        "version = '1.2.3.4'",
        "1.3.6.1.4.1.311",
        "999.1.1.1",
        "::1 2001:db8::1 x[1::2] x[2001::2] ab::cd std::vector 12:30:45",
        "aa:bb:cc:dd:ee:ff",
        "1700000000000",
        "0.13812345678",
        "x13812345678",
        "12345678901",
        "4111111111111112",
        "110105194912310021",
        "3.14159265358979",
    ],
)
def test_what_names_nobody_stays(text: str) -> None:
    assert censor(text) == text


def test_one_value_has_one_name_however_it_is_written() -> None:
    text = "13812345678 / +86 138 1234 5678 / 8613812345678; A@x.com a@X.com; 4111111111111111 4111 1111 1111 1111"
    assert censor(text) == (
        "REDACTED_PHONE_1 / +REDACTED_PHONE_1 / REDACTED_PHONE_1; REDACTED_EMAIL_1 REDACTED_EMAIL_1; "
        "REDACTED_BANK_CARD_1 REDACTED_BANK_CARD_1"
    )


def test_numbers_in_a_row_are_all_replaced() -> None:
    assert censor("+1 415 555 2671 +44 20 7946 0958") == "+REDACTED_PHONE_1 +REDACTED_PHONE_2"


@settings(deadline=None)
@given(st.integers(0, 10**14 - 1))
def test_every_card_number_with_a_right_check_digit_is_replaced(number: int) -> None:
    body = f"4{number:014d}"
    card = body + luhn.calc_check_digit(body)
    assert card not in censor(f"pay {card} now")


@settings(deadline=None)
@given(st.dates(), st.integers(0, 999))
def test_every_resident_id_with_a_right_checksum_is_replaced(born: date, order: int) -> None:
    body = f"110101{born:%Y%m%d}{order:03d}0"
    number = body[:-1] + ric.calc_check_digit(body)
    assert (number in censor(f"身份证{number}号")) is not ric.is_valid(number)


@settings(deadline=None)
@given(st.integers(0, 99999999), st.sampled_from(["138", "139", "150", "186", "199"]))
def test_every_chinese_mobile_number_is_replaced(number: int, prefix: str) -> None:
    assert f"{number:08d}" not in censor(f"tel {prefix}{number:08d}.")


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_a_public_address_never_stays(address: object) -> None:
    kept = str(address) in censor(f"host {address} up")
    assert not kept or not address.is_global or address.is_multicast or str(address) in ("8.8.8.8", "1.1.1.1")  # type: ignore[attr-defined]


def test_a_resident_id_stands_even_where_its_county_is_younger_than_the_person() -> None:
    assert censor("id 320102195405210731") == "id REDACTED_RESIDENT_ID_1"
    assert censor("id 320102195405210732") == "id 320102195405210732"
