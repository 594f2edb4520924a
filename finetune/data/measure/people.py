"""Personal data by its public rules: addresses, numbers, and the checksums of GB 11643, ISO 7812 and GB 32100."""

from __future__ import annotations

import ipaddress

from finetune.data.measure.draw import PEOPLE, Draw

DOMAINS = (
    "gmail.com", "outlook.com", "qq.com", "163.com", "126.com", "sina.cn", "web.de", "gmx.net", "proton.me", "foxmail.com",
)  # fmt: skip
REGIONS = ("110101", "310115", "440305", "330106", "510104", "320102", "420106", "610113", "370202", "120104")
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
COMPANY_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def email(draw: Draw) -> str:
    first, last = draw.one(PEOPLE), draw.one(PEOPLE)
    local = draw.one((
        f"{first}.{last}", f"{first}_{last}{draw.number(1, 99)}", f"{first[0]}{last}", f"{first}.{last}+{draw.word()}",
        str(draw.number(10**7, 10**10)), f"{first}-{last}", f"{first}{draw.number(1950, 2010)}", f"{first.title()}.{last.title()}",
    ))  # fmt: skip
    company = f"{draw.word()}-{draw.word()}.{draw.one(('com', 'com.cn', 'de', 'co.uk', 'io', 'cn', 'tech'))}"
    return f"{local}@{draw.one((draw.one(DOMAINS), company, f'mail.{draw.word()}{draw.word()}.com'))}"


def ip(draw: Draw) -> str:
    """A public address; three in four are IPv4."""
    while True:
        if draw.chance(0.75):
            address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv4Address(draw.raw(4))
        else:
            tail = draw.raw(12) if draw.chance(0.5) else draw.raw(2) + bytes(8) + draw.raw(2)
            address = ipaddress.IPv6Address(b"\x24" + draw.raw(3) + tail)
        if address.is_global and not address.is_multicast:
            return address.compressed


def phone(draw: Draw) -> str:
    """International and North American numbers, and mobiles of China's networks."""
    rest = draw.chars("0123456789", 8)
    mobile = draw.one(("138", "139", "150", "151", "158", "177", "186", "189", "199", "135")) + rest
    return draw.one((
        mobile, mobile, f"{mobile[:3]}-{mobile[3:7]}-{mobile[7:]}", f"+86 {mobile}", f"+86 {mobile[:3]} {mobile[3:7]} {mobile[7:]}",
        f"+86{mobile}", f"+49 {draw.one(('30', '89', '151', '170'))} {rest[:4]} {rest[4:]}", f"+44 20 7{rest[:3]} {rest[3:7]}",
        f"+1-{draw.one(('415', '212', '617'))}-{draw.number(200, 999)}-{rest[:4]}", f"+33 6 {rest[:2]} {rest[2:4]} {rest[4:6]} {rest[6:]}",
        f"({draw.one(('415', '212', '617'))}) {draw.number(200, 999)}-{rest[:4]}",
    ))  # fmt: skip


def resident_id(draw: Draw, right: bool = True) -> str:
    body = f"{draw.one(REGIONS)}{draw.number(1950, 2012)}{draw.number(1, 12):02}{draw.number(1, 28):02}{draw.number(0, 999):03}"
    rest = sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True)) % 11
    return body + "10X98765432"[rest if right else (rest + draw.number(1, 10)) % 11]


def luhn_digit(body: str) -> int:
    """The check digit that ISO/IEC 7812-1 asks for after `body`."""
    doubled = (int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(body)))
    return -sum(value - 9 if value > 9 else value for value in doubled) % 10


def bank_card(draw: Draw, right: bool = True) -> str:
    prefix, length = draw.one(
        (("4", 16), ("53", 16), ("37", 15), ("622202", 19), ("6217", 19), ("625", 16), ("6228", 19))
    )
    body = prefix + draw.chars("0123456789", length - len(prefix) - 1)
    number = f"{body}{(luhn_digit(body) + (0 if right else draw.number(1, 9))) % 10}"
    grouped = " ".join(number[at : at + 4] for at in range(0, length, 4))
    return grouped if length == 16 and draw.chance(0.3) else number


def company_code(draw: Draw, right: bool = True) -> str:
    body = draw.one(("91", "92", "12", "52")) + draw.one(REGIONS) + draw.chars(COMPANY_ALPHABET, 9)
    total = sum(COMPANY_ALPHABET.index(sign) * pow(3, at, 31) for at, sign in enumerate(body))
    return body + COMPANY_ALPHABET[(-total + (0 if right else draw.number(1, 30))) % 31]
