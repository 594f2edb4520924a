"""Secrets known by what stands beside them: assignments, connection strings, headers, command lines.

The last group of each pattern, `v` or `v` and a number, is the secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from finetune.data.desensitize.spans import MASK, Span
from finetune.data.desensitize.values import (
    Names,
    is_bare_key,
    is_bare_password,
    is_cloud_key,
    is_key,
    is_mixed,
    is_odd,
    is_password,
    is_phrase,
    is_value,
)

LOGIN_WORD = r"(?:password|passwd|passphrase|passcode|pwd|密码|口令)"
SHORT_WORD = r"(?<![A-Za-z])pass"
KEY_WORD = (
    r"(?:secret|(?<!publickey)(?<!public_key_)token|api[_-]?key|access[_-]?key(?:[_-]?(?:id|secret))?|secret[_-]?(?:access[_-]?)?(?:key|id)|app[_-]?(?:secret|key)"
    r"|private[_-]?key|auth[_-]?key|client[_-]?secret|(?:encrypt(?:ion)?|signing|session|master)[_-]?key|credentials?|密钥)"
)
# What Huawei Cloud and others call the two halves of a key pair.
PAIR_WORD = r"(?<![A-Za-z])[as]k"
LOGIN_CALL = r"(?:basic_?auth\w{0,20}\s{0,3}|\bauth\s{0,3}=\s{0,3}|\bgetconnection)\("
# What stands between a name and its quoted value in most languages: `"]`, a type, an operator, a string prefix.
BETWEEN = (
    r"(?:\\?[\"'])?\]?(?:\s*:\s*[\w\[\].| ]{1,40}(?==)|[ \t]+string(?=\s*=))?"
    r"\s{0,3}(?:===?|!=|=>|:=|=|:|：)\s{0,3}[rRbBuUfF]{0,2}"
)
# `setProperty("password", "value")`, but not `fields("password", "other", "more")`.
ARGUMENT = r"[\"']\s{0,3},\s{0,3}(?=(?:\"[^\"\n]*\"|'[^'\n]*')\s*\))"
QUOTED = r"(?P<q>[\"'`])(?P<v>(?:\\.|(?!(?P=q))[^\s\\]){4,400})(?P=q)"
ESCAPED = r"(?P<q>\\[\"'])(?P<v>[^\s\"'\\]{4,400})(?P=q)"
TRIPLE = r"(?P<q>\"{3}|'{3})(?P<v>[^\s\"'\\]{4,400})(?P=q)"
PHRASE = r"(?P<q>[\"'])(?P<v>[^\s\"'\\][^\n\r\"'\\]{4,100})(?P=q)"
# A quote with a letter after it closes nothing; a comma before a name and `=` begins the next argument.
BARE = (
    r"(?P<v>[^\s\"'`(){}\[\]<>,;&：，。；](?:[^\s\"'`;&<,：，。；]|[\"'`](?=\w)|<(?!/)|,(?!\w+=)){5,400}+)"
    r"(?=[\s\"'`;&：，。；]|</|,|$)"
)
# `password: process.env.PW || "value"`, `PASSWORD or "value"`: the value where nothing else is set.
FALLBACK = r"[\w.$\[\]\"'()]{0,80}\s{0,3}(?:\|\||\?\?|\bor\b)\s{0,3}"
# `${db.password:value}` of Spring and `${PASSWORD:-value}` of shells.
DEFAULT = r":-?(?P<v>[^\s{}$\"'`<>]{4,200})\}"
# `<key>value</key>`, `<entry key="key">value</entry>`, `name="key" value="value"`, `name: key, value: value`.
ELEMENT = r"(?:[\"'][^<>\n]{0,80})?>(?P<v>[^<\s]{4,400})</"
ATTRIBUTE = r"[\"']\s+value=[\"'](?P<v>[^\"'\s]{4,400})[\"']"
PAIR = r"[\"']?,?\s{1,60}value:[ \t]{1,3}(?P<q>[\"']?)(?P<v>[^\s\"'{}\[\]]{4,400})(?P=q)[ \t]*$"
# A cell of a Markdown table.
CELL = r"[`*]{0,3}[ \t]{0,40}\|[ \t]{0,40}`(?P<v>[^`\s]{4,400})`"
CALLED = r"(?:\bset|\bwith|\.(?!get|is|has|find|read|check))(?:\w{0,40}?[a-z_])??"
ARGUMENT_ONLY = r"\(\s{0,3}" + QUOTED + r"\s{0,3}\)"


def _any_of(*patterns: str) -> str:
    """One pattern for all, so that a text is read once; each has groups of its own."""
    numbered = (re.sub(r"\(\?P(<|=)([qv])", rf"(?P\1\g<2>{number}", one) for number, one in enumerate(patterns))
    return "(?:" + "|".join(numbered) + ")"


ELSEWHERE = _any_of(ELEMENT, ATTRIBUTE, PAIR, CELL, BETWEEN + FALLBACK + QUOTED, FALLBACK + QUOTED)
IS = r"[ \t]*(?:is|为|是|[:：=])[ \t]*"
# Where the name begins a line, as in environment and property files, the value is all of the rest but a comment.
LINE_START = r"^[ \t]{0,40}(?:export[ \t]+|set[ \t]+|-[ \t]+)?[\w.-]{0,60}?"
REST = r"[ \t]*[:：=][ \t]*(?P<v>[^\s\"'`(){}\[\]<>,;&：，。；][^\n\r]{5,400}?)(?=[ \t]{0,40}(?:[ \t]\#[^\n]*)?\r?$)"
CLOSING = ".,;:)]}>"
AFTER = re.compile(r"</[A-Za-z][\w.:-]*>|[，。；]")


@dataclass(frozen=True)
class _Rule:
    name: str
    kind: str
    hint: re.Pattern[str]
    pattern: re.Pattern[str]
    accepts: Callable[[str, Names], bool]
    bare: bool = False


# What may follow a name that tells, in all patterns that begin with one: most uses of `token` in code end here.
BEFORE_VALUE = (
    r"(?=[\\\"'`\]:：=!>|*(,为是]|\s{1,60}(?:[:：=!|]|value:)|[ \t]+(?:string|is|为|是)|\s{1,3}[\"']"
    r"|[\w.$\[\]\"'()]{0,80}\s{0,3}(?:\|\||\?\?|or\b))"
)
# A rule is tried only around its hint, which is looked for in lower case: several times faster than the rules everywhere.
HINTS = {
    LOGIN_WORD: re.compile(LOGIN_WORD + BEFORE_VALUE),
    SHORT_WORD: re.compile(r"(?<![a-z])pass" + BEFORE_VALUE),
    PAIR_WORD: re.compile(r"(?<![a-z])[as]k[\"'\s:=\]]"),
    LOGIN_CALL: re.compile(r"basic_?auth|auth\s{0,3}=\s{0,3}\(|getconnection\("),
    KEY_WORD: re.compile(
        "(?:secret|token|credentials?|密钥|(?:api|access|app|private|auth|encrypt|encryption|signing|session|master)[_-]?key)"
        "(?:[_-]?(?:access[_-]?)?(?:key|id|secret))?" + BEFORE_VALUE
    ),
}
# A pattern's blanks reach over so many lines after its hint, and none before it.
LINES_AFTER = 8
OTHER_HINT = re.compile("://|pass|pwd|bearer|basic|curl|mysql|identified|docker|redis-cli")


def _rule(name: str, kind: str, pattern: str, accepts: Callable[[str], bool]) -> _Rule:
    return _Rule(name, kind, _hint(pattern), _compiled(pattern), lambda value, _: accepts(value))


def _bare_rule(name: str, kind: str, pattern: str, accepts: Callable[[str, Names], bool]) -> _Rule:
    return _Rule(name, kind, _hint(pattern), _compiled(pattern), accepts, bare=True)


def _hint(pattern: str) -> re.Pattern[str]:
    return next((hint for word, hint in HINTS.items() if word in pattern), OTHER_HINT)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


RULES = (
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + BETWEEN + QUOTED, is_password),
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + BETWEEN + ESCAPED, is_password),
    _bare_rule("password_assignment", "PASSWORD", LOGIN_WORD + IS + BARE, is_bare_password),
    _bare_rule("password_assignment", "PASSWORD", LINE_START + LOGIN_WORD + REST, is_bare_password),
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + BETWEEN + TRIPLE, is_password),
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + ARGUMENT + QUOTED, is_password),
    _rule("password_assignment", "PASSWORD", LOGIN_WORD + r"\s{0,3}=\s{0,3}" + PHRASE, is_phrase),
    _rule("password_assignment", "PASSWORD", SHORT_WORD + BETWEEN + QUOTED, is_odd),
    _bare_rule("password_assignment", "PASSWORD", SHORT_WORD + r"[ \t]*[:=][ \t]*" + BARE, is_bare_password),
    _bare_rule("password_assignment", "PASSWORD", LINE_START + SHORT_WORD + REST, is_bare_password),
    _rule(
        "password_statement",
        "PASSWORD",
        r"\bidentified\s{1,3}(?:with\s\w{1,40}\s)?(?:by|as)\s{1,3}(?!`)" + QUOTED,
        is_value,
    ),
    _rule("password_statement", "PASSWORD", r"\bpassword\s{1,3}" + QUOTED, is_mixed),
    _rule("secret_assignment", "SECRET", KEY_WORD + BETWEEN + QUOTED, is_key),
    _rule("secret_assignment", "SECRET", KEY_WORD + ARGUMENT + QUOTED, is_key),
    _rule("secret_assignment", "SECRET", KEY_WORD + BETWEEN + ESCAPED, is_key),
    _bare_rule("secret_assignment", "SECRET", KEY_WORD + IS + BARE, is_bare_key),
    _bare_rule("secret_assignment", "SECRET", LINE_START + KEY_WORD + REST, is_bare_key),
    _rule("secret_assignment", "SECRET", KEY_WORD + BETWEEN + TRIPLE, is_key),
    _rule("secret_assignment", "SECRET", PAIR_WORD + BETWEEN + QUOTED, is_cloud_key),
    _bare_rule("secret_assignment", "SECRET", PAIR_WORD + IS + BARE, lambda value, _: is_cloud_key(value)),
    *(
        _rule(rule, kind, pattern, accepts)
        for rule, kind, word, accepts in (
            ("password_assignment", "PASSWORD", LOGIN_WORD, is_value),
            ("secret_assignment", "SECRET", KEY_WORD, is_key),
        )
        for pattern in (word + ELSEWHERE, r"\$\{[\w.-]{0,60}" + word + DEFAULT, CALLED + word + ARGUMENT_ONLY)
    ),
    _rule(
        "password_statement", "PASSWORD", LOGIN_CALL + r"[^()\n]{0,200}?,\s{0,3}" + QUOTED + r"\s{0,3}\)", is_password
    ),
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
        is_mixed,
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
        r"(?<![A-Za-z0-9_])(?:sshpass\s+-p\s{0,2}|mysql\b[^\n]{0,100}?\s-p|--password[= ]"
        r"|docker\s+login\b[^\n]{0,200}?\s-p[ =]|redis-cli\b[^\n]{0,100}?\s-a[ ])[\"']?(?P<v>[^\s'\"]{5,100})",
        is_mixed,
    ),
)


def find(text: str) -> Iterator[Span]:
    """All secrets by their neighbourhood, possibly overlapping."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose small form is longer: places would be others
        lowered = "".join(small if len(small := one.lower()) == 1 else one for one in text)
    windows = {hint: list(_windows(hint, lowered)) for hint in (*HINTS.values(), OTHER_HINT)}
    names = Names(text)
    for rule in RULES:
        for start, end in windows[rule.hint]:
            yield from _found(rule, text, start, end, names)


def _windows(hint: re.Pattern[str], lowered: str) -> Iterator[tuple[int, int]]:
    """Whole lines around the hints, windows that touch made one."""
    start, end = 0, -1
    for match in hint.finditer(lowered):
        if match.start() > end:
            if end >= 0:
                yield start, end
            start = lowered.rfind("\n", 0, match.start()) + 1
        end = match.end() - 1
        for _ in range(LINES_AFTER):
            end = lowered.find("\n", end + 1)
            if end < 0:
                yield start, len(lowered)
                return
    if end >= 0:
        yield start, end


def _found(rule: _Rule, text: str, start: int, end: int, names: Names) -> Iterator[Span]:
    for match in rule.pattern.finditer(text, start, end):
        group = match.lastgroup or "v"
        value = _without_code(match[group]) if rule.bare else match[group]
        # What begins a line is judged by its first word: a value may go on after a blank, but doesn't change by that.
        word = value.split()[0].rstrip(CLOSING) if rule.bare and value else value
        if rule.accepts(word, names) and MASK not in value:
            place = match.start(group)
            yield Span(place, place + len(value), rule.name, rule.kind, value)


def _without_code(value: str) -> str:
    """Without what text and code have after a value: closing brackets, and other arguments after a comma and a blank."""
    value = AFTER.split(value, maxsplit=1)[0]
    first, _, rest = value.partition(" ")
    return first.rstrip(CLOSING) if not rest or first.endswith(tuple(CLOSING)) else value
