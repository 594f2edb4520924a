"""E-mail and IP addresses.

Kept: loopback, unspecified, multicast, broadcast and netmasks, the documentation ranges of RFC 5737 and 3849, the well-known
public resolvers, and the `git@` of clone addresses: they name nobody. Private ranges go: they map a network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from finetune.data.desensitize.on_lines import matches, matches_with_digits
from finetune.data.desensitize.spans import Span

EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}(?P<top>[A-Za-z]{2,24})(?![A-Za-z0-9_-])"
)
# In Python `weights@hidden.shape` is a product: only endings that addresses have.
TOPS = frozenset(
    (
        *("com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "mobi", "asia"),
        *("dev", "app", "cloud", "tech", "xyz", "top", "site", "online", "shop", "club", "vip", "wang", "ren"),
        *("local", "localdomain", "internal", "intranet", "corp", "lan", "home", "test", "example", "invalid"),
    )
)
IPV4 = re.compile(r"(?a)(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
IPV6 = re.compile(r"(?a)(?<![\w:.])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){1,7}(?:::)?(?![\w:])")
# A part of whatever the patterns find: far faster to look for. Of addresses of version 6 only those that are taken for some.
HAS_EMAIL = re.compile(r"@(?<=[A-Za-z0-9._%+-]@)[A-Za-z0-9-]")
HAS_IPV4 = (b"0.0.0", b"0.00.0", b"0.000.0")  # each digit written as 0
HAS_IPV6 = re.compile(r":(?<=[fF23][0-9A-Fa-f]{3}:)")
VERSION = re.compile(r"v(?:er(?:sion)?)?[\"']?\s*[:=]*\s*[\"']?$", re.IGNORECASE)
RESOLVERS = frozenset(
    ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "114.114.114.114", "223.5.5.5", "223.6.6.6")
)
DOCUMENTATION = tuple(
    ipaddress.ip_network(network) for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)


def emails(text: str) -> Iterator[Span]:
    for match in matches(EMAIL, HAS_EMAIL, text):
        top = match["top"].lower()
        if (top in TOPS or len(top) == 2) and not match[0].startswith("git@"):
            yield Span(match.start(), match.end(), "email", "EMAIL", match[0].lower())


def ipv4(text: str) -> Iterator[Span]:
    for match in matches_with_digits(IPV4, HAS_IPV4, text):
        try:
            address = ipaddress.IPv4Address(match[0])
        except ValueError:
            continue
        if _names_a_host(address) and not VERSION.search(text[max(0, match.start() - 16) : match.start()]):
            yield Span(match.start(), match.end(), "ipv4", "IP", str(address))


def ipv6(text: str) -> Iterator[Span]:
    for match in matches(IPV6, HAS_IPV6, text):
        try:
            address = ipaddress.IPv6Address(match[0])
        except ValueError:
            continue
        if _names_a_host(address) and _is_written_as_address(match[0]):
            yield Span(match.start(), match.end(), "ipv6", "IP", str(address))


def _is_written_as_address(text: str) -> bool:
    """Slices (`x[1::2]`) and C++ scopes (`ab::cd`) can be valid addresses too."""
    groups = [group for group in text.split(":") if group]
    prefix = groups[0].lower()
    return len(prefix) == 4 and (prefix[0] == "f" or (prefix[0] in "23" and len(groups) >= 3))


def _names_a_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address.is_loopback or address.is_unspecified or address.is_multicast or str(address) in RESOLVERS:
        return False
    if address.version == 4 and (str(address).startswith("255.") or str(address).startswith("0.")):
        return False
    return not any(address.version == network.version and address in network for network in DOCUMENTATION)
