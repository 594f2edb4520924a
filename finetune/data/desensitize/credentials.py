"""Secrets known by what stands beside them: assignments, connection strings, headers, command lines.

Group `v` of each pattern is the secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from finetune.data.desensitize.spans import MASK, Span

LOGIN_WORD = r"(?:password|passwd|passphrase|passcode|pwd|密码|口令)"
KEY_WORD = (
    r"(?:secret|token|api[_-]?key|access[_-]?key(?:[_-]?(?:id|secret))?|secret[_-]?(?:access[_-]?)?(?:key|id)|app[_-]?(?:secret|key)"
    r"|private[_-]?key|auth[_-]?key|client[_-]?secret|(?:encrypt(?:ion)?|signing|session|master)[_-]?key|credentials?|密钥)"
)
# What stands between a name and its quoted value in most languages: `"]`, a type, an operator, a string prefix.
BETWEEN = (
    r"(?:\\?[\"'])?\]?(?:\s*:\s*[\w\[\].| ]{1,40}(?==)|[ \t]+string(?=\s*=))?"
    r"\s{0,3}(?:===?|!=|=>|:=|=|:|：)\s{0,3}[rRbBuUfF]{0,2}"
)
# `setProperty("password", "value")`, but not `fields("password", "other", "more")`.
ARGUMENT = r"[\"']\s{0,3},\s{0,3}(?=(?:\"[^\"\n]*\"|'[^'\n]*')\s*\))"
QUOTED = r"(?P<q>[\"'`])(?P<v>(?:\\.|(?!(?P=q))[^\s\\]){4,400})(?P=q)"
ESCAPED = r"(?P<q>\\[\"'])(?P<v>[^\s\"'\\]{4,400})(?P=q)"
BARE = r"(?P<v>[^\s\"'`(){}\[\]<>,;：，。；]{6,200})(?![\w(.\[])"

TEMPLATE = re.compile(
    r"\$\{|\$\(|\{\{|%\(|%s|\{[\w.]*\}|^<.*>$|^\$\w+$|^(?:your|enter|insert|replace)[\w-]*$|^[^A-Za-z0-9]*$|^(.)\1*$|REDACTED_"
    r"|^(?:true|false|null|none|undefined|required|optional)$",
    re.IGNORECASE,
)
# `"password": "DB_PASSWORD"`: the name of a secret, not one.
NAME_ONLY = re.compile(r"[A-Za-z_.:/ -]*(?:pass|pwd|secret|token|key|credential)[A-Za-z_.:/ -]*\d{0,2}", re.IGNORECASE)
MIN_PASSWORD, MIN_KEY = 6, 12


def is_value(text: str) -> bool:
    """Whether a password may look like this: no template, no name of a variable."""
    return len(text) >= 4 and not TEMPLATE.search(text) and not NAME_ONLY.fullmatch(text)


def _is_password(text: str) -> bool:
    return len(text) >= MIN_PASSWORD and text.isascii() and is_value(text)


def _is_mixed(text: str) -> bool:
    return is_value(text) and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _is_key(text: str) -> bool:
    return len(text) >= MIN_KEY and text.isascii() and _is_mixed(text)


def _is_bare_key(text: str) -> bool:
    # `token = other_token2`, `self.key1`: in code a bare word is a name.
    return _is_key(text) and not re.fullmatch(r"[A-Za-z_][\w.]*[A-Za-z_.][\w.]*", text.lower().strip("0123456789"))


@dataclass(frozen=True)
class _Rule:
    name: str
    kind: str
    hint: re.Pattern[str]
    pattern: re.Pattern[str]
    accepts: Callable[[str], bool]


# Most texts have nothing telling in them. A search for a hint in lower case is several times faster than the rules.
HINTS = {
    LOGIN_WORD: re.compile("pass|pwd|密码|口令"),
    KEY_WORD: re.compile(
        "secret|token|credential|密钥|(?:api|access|app|private|auth|encrypt|encryption|signing|session|master)[_-]?key"
    ),
}
OTHER_HINT = re.compile("://|pass|pwd|bearer|basic|curl|mysql")


def _rule(name: str, kind: str, pattern: str, accepts: Callable[[str], bool]) -> _Rule:
    hint = next((hint for word, hint in HINTS.items() if pattern.startswith(word)), OTHER_HINT)
    return _Rule(name, kind, hint, re.compile(pattern, re.IGNORECASE | re.MULTILINE), accepts)


RULES = (
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + BETWEEN + QUOTED, _is_password),
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + BETWEEN + ESCAPED, _is_password),
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + r"[ \t]*(?:is|为|是|[:：=])[ \t]*" + BARE, _is_mixed),
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + ARGUMENT + QUOTED, _is_password),
    _rule("secret_assignment", "SECRET", KEY_WORD + BETWEEN + QUOTED, _is_key),
    _rule("secret_assignment", "SECRET", KEY_WORD + ARGUMENT + QUOTED, _is_key),
    _rule("secret_assignment", "SECRET", KEY_WORD + BETWEEN + ESCAPED, _is_key),
    _rule("secret_assignment", "SECRET", KEY_WORD + r"[ \t]*(?:is|为|是|[:：=])[ \t]*" + BARE, _is_bare_key),
    _rule("password_element", "PASSWORD", rf"<[\w.:-]{{0,60}}{LOGIN_WORD}>(?P<v>[^<\s]{{4,200}})</", is_value),
    _rule("password_element", "PASSWORD", rf"{LOGIN_WORD}[\"']\s+value=[\"'](?P<v>[^\"'\s]{{4,200}})[\"']", is_value),
    _rule(
        "connection_string",
        "PASSWORD",
        r"[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{0,100}:(?P<v>[^\s/\"'<>]{1,200})@[\w.\[]",
        is_value,
    ),
    _rule("connection_string", "PASSWORD", r"[?&;](?:password|pwd|passwd)=(?P<v>[^&\s;\"'<>]{4,200})", is_value),
    _rule(
        "authorization_header",
        "SECRET",
        r"(?<![A-Za-z0-9_])(?:bearer|basic)\s{1,3}(?P<v>[A-Za-z0-9+/_.=~-]{16,2000})",
        _is_mixed,
    ),
    _rule(
        "command_line",
        "PASSWORD",
        r"(?<![A-Za-z0-9_])curl\b[^\n]{0,200}?\s(?:-u|--user)[ =]?[\"']?[\w.@-]{1,60}:(?P<v>[^\s'\"]{4,100})",
        is_value,
    ),
    _rule(
        "command_line",
        "PASSWORD",
        r"(?<![A-Za-z0-9_])(?:sshpass\s+-p\s{0,2}|mysql\b[^\n]{0,100}?\s-p|--password[= ])[\"']?(?P<v>[^\s'\"]{5,100})",
        _is_mixed,
    ),
)


def find(text: str) -> Iterator[Span]:
    """All secrets by their neighbourhood, possibly overlapping."""
    lowered = text.lower()
    hints = {hint for hint in (*HINTS.values(), OTHER_HINT) if hint.search(lowered)}
    for rule in RULES:
        if rule.hint not in hints:
            continue
        for match in rule.pattern.finditer(text):
            if rule.accepts(match["v"]) and MASK not in match["v"]:
                yield Span(match.start("v"), match.end("v"), rule.name, rule.kind, match["v"])
