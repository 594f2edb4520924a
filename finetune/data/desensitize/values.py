"""What a secret may look like, beside a name that tells: no template, no code, no name of a variable."""

from __future__ import annotations

import re
from functools import cached_property

TEMPLATE = re.compile(
    r"\$\{|\$\(|\{\{|%\(|%s|\{[\w.]*\}|^<.*>$|^\$\w+$|^(?:your|enter|insert|replace)[\w-]*$|^[^A-Za-z0-9]*$|^(.)\1*$|REDACTED_"
    r"|^(?:true|false|null|none|undefined|required|optional|change[_-]?(?:me|it)|placeholder|example|dummy|todo|fixme)$",
    re.IGNORECASE,
)
HOLE = re.compile(r"(?<![{$])\{[\w.]{0,40}\}(?!\})")
# `"password": "DB_PASSWORD"`: the name of a secret, not one.
NAME_ONLY = re.compile(r"[A-Za-z_.:/ -]*(?:pass|pwd|secret|token|key|credential)[A-Za-z_.:/ -]*\d{0,2}", re.IGNORECASE)
# `get(x1)`, `names[1]`, `self.config2.value`: code.
CODE = re.compile(r"[A-Za-z_$][\w.$]*(?:\(|\[|->|::)|(?:[A-Za-z_]+\d?\.)+[A-Za-z_]\w*$")
WORD = re.compile(r"[A-Za-z_$][\w$]*")
CHANGE = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
USED = re.compile(r"(?<![\w\"'.])([A-Za-z_]\w*)(?:[(\[]|\.[A-Za-z_]|\s{0,3}[-+*/|:]?=)")
PROSE = re.compile(
    r"\b(?:must|enter|at least|characters?|digits?|please|your|should|invalid|wrong|is|are|the)\b", re.IGNORECASE
)
MIN_PASSWORD, MIN_KEY, MIN_RANDOM, MIN_AROUND_HOLE = 6, 12, 12, 8
MIN_SHORT_KEY = 8
ODD_SIGN = re.compile(r"[!@#$%^&*?+=~]")
CLOUD_KEY = re.compile(r"[A-Za-z0-9+/]{20,64}")
NAME_DIGITS = 3


class Names:
    """The identifiers a text uses; looked up only when a rule asks."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def used(self) -> frozenset[str]:
        return frozenset(USED.findall(self._text))


def is_value(text: str) -> bool:
    """Whether a password may look like this: no template, no name of a variable."""
    around = HOLE.sub("", text)
    if len(around) >= MIN_AROUND_HOLE and _has_both(around):
        text = around
    return len(text) >= 4 and not TEMPLATE.search(text) and not NAME_ONLY.fullmatch(text)


def is_password(text: str) -> bool:
    """Between quotes. Labels of other scripts are no passwords; letters with accents may be, beside a digit."""
    latin = text.isascii() or (_has_both(text) and max(text) < "\u0250")
    return len(text) >= MIN_PASSWORD and latin and is_value(text)


def is_mixed(text: str) -> bool:
    return is_value(text) and _has_both(text)


def is_odd(text: str) -> bool:
    """Beside a name as weak as `pass`."""
    return len(text) >= MIN_PASSWORD and text.isascii() and (is_mixed(text) or (is_value(text) and is_random(text)))


def is_phrase(text: str) -> bool:
    """Several words that aren't a message for people."""
    return is_mixed(text) and text.isascii() and " " in text and not text[0].isupper() and not PROSE.search(text)


def is_key(text: str) -> bool:
    """Between quotes. A short one has small and capital letters and digits, or signs that names don't have."""
    if len(text) < MIN_KEY and not (len(text) >= MIN_SHORT_KEY and (_has_cases(text) or ODD_SIGN.search(text))):
        return False
    return text.isascii() and is_mixed(text)


def is_cloud_key(text: str) -> bool:
    """Beside a name as short as `ak` or `sk`."""
    return bool(CLOUD_KEY.fullmatch(text)) and sum(map(str.isdigit, text)) >= 2 and is_mixed(text)


def is_bare_password(text: str, _: Names) -> bool:
    """Without quotes: a digit is needed, or nothing but chance can have written it."""
    return not CODE.match(text) and (is_mixed(text) or (is_value(text) and is_random(text)))


def is_bare_key(text: str, names: Names) -> bool:
    """Without quotes: in code a bare word is a name, unless it has too many digits or changes for one."""
    if len(text) < MIN_KEY or not text.isascii() or CODE.match(text) or not is_value(text):
        return False
    if not WORD.fullmatch(text):
        return _has_both(text)
    unlike_a_name = sum(map(str.isdigit, text)) >= NAME_DIGITS or is_random(text)
    return unlike_a_name and text not in names.used and any(map(str.isalpha, text))


def is_random(text: str) -> bool:
    """Case and digits change too often for words: `getPasswordToken` changes 4 times in 16 characters."""
    return len(text) >= MIN_RANDOM and len(CHANGE.findall(text)) * 2 >= len(text)


def _has_cases(text: str) -> bool:
    return any(map(str.isupper, text)) and any(map(str.islower, text))


def _has_both(text: str) -> bool:
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))
