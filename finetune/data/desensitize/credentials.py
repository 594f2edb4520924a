"""Secrets known by what stands beside them: assignments, connection strings, headers, command lines.

The last group of each pattern, `v` or `v` and a number, is the secret. A pattern is tried only where a match of it can begin,
which the telling word in it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from finetune.data.desensitize.spans import MASK, Span
from finetune.data.desensitize.telling_words import LOGIN_WORD, Telling
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


Begins = Callable[[str, int], Iterable[int]]
MOST_BEFORE = 80  # characters that a pattern has before its telling word


@dataclass(frozen=True)
class _Rule:
    """`words` are the places of the telling word, `begins` where a match with such a place in it can begin."""

    name: str
    kind: str
    pattern: re.Pattern[str]
    accepts: Callable[[str, Names], bool]
    words: Callable[[Telling], list[int]]
    begins: Begins
    bare: bool = False


def _here(_: str, place: int) -> Iterable[int]:
    return (place,)


def _one_before(_: str, place: int) -> Iterable[int]:
    return (place - 1,) if place else ()


def _at_line(text: str, place: int) -> Iterable[int]:
    return (text.rfind("\n", 0, place) + 1,)


def _at_brace(text: str, place: int) -> Iterable[int]:
    found = text.rfind("${", max(0, place - MOST_BEFORE), place)
    return (found,) if found >= 0 else ()


def _before(near: str) -> Begins:
    """Anywhere before the word, if this follows at its place."""
    pattern = _compiled(near)
    return lambda text, place: range(max(0, place - MOST_BEFORE), place) if pattern.match(text, place) else ()


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


def _rule(
    name: str,
    pattern: str,
    accepts: Callable[[str], bool],
    words: Callable[[Telling], list[int]],
    begins: Begins = _here,
) -> _Rule:
    kind = "PASSWORD" if name in PASSWORDS else "SECRET"
    return _Rule(name, kind, _compiled(pattern), lambda value, _: accepts(value), words, begins)


def _bare_rule(
    name: str,
    pattern: str,
    accepts: Callable[[str, Names], bool],
    words: Callable[[Telling], list[int]],
    begins: Begins = _here,
) -> _Rule:
    kind = "PASSWORD" if name in PASSWORDS else "SECRET"
    return _Rule(name, kind, _compiled(pattern), accepts, words, begins, bare=True)


def _of(*words: str) -> Callable[[Telling], list[int]]:
    return lambda telling: telling.of(*words)


PASSWORDS = ("password_assignment", "password_statement", "connection_string", "command_line")
LOGINS, SHORTS, KEYS, PAIRS = (attrgetter(name) for name in ("logins", "shorts", "keys", "pairs"))
# What follows the scheme of an address with a password in it.
AUTHORITY = r"://[^\s:/@\"'<>]{0,100}:(?P<v>[^\s/\"'<>]{1,200})@[\w.\[]"

RULES = (
    _rule("password_assignment", LOGIN_WORD + BETWEEN + QUOTED, is_password, LOGINS),
    _rule("password_assignment", LOGIN_WORD + BETWEEN + ESCAPED, is_password, LOGINS),
    _bare_rule("password_assignment", LOGIN_WORD + IS + BARE, is_bare_password, LOGINS),
    _bare_rule("password_assignment", LINE_START + LOGIN_WORD + REST, is_bare_password, LOGINS, _at_line),
    _rule("password_assignment", LOGIN_WORD + BETWEEN + TRIPLE, is_password, LOGINS),
    _rule("password_assignment", LOGIN_WORD + ARGUMENT + QUOTED, is_password, LOGINS),
    _rule("password_assignment", LOGIN_WORD + r"\s{0,3}=\s{0,3}" + PHRASE, is_phrase, LOGINS),
    _rule("password_assignment", SHORT_WORD + BETWEEN + QUOTED, is_odd, SHORTS),
    _bare_rule("password_assignment", SHORT_WORD + r"[ \t]*[:=][ \t]*" + BARE, is_bare_password, SHORTS),
    _bare_rule("password_assignment", LINE_START + SHORT_WORD + REST, is_bare_password, SHORTS, _at_line),
    _rule(
        "password_statement",
        r"\bidentified\s{1,3}(?:with\s\w{1,40}\s)?(?:by|as)\s{1,3}(?!`)" + QUOTED,
        is_value,
        _of("identified"),
    ),
    _rule("password_statement", r"\bpassword\s{1,3}" + QUOTED, is_mixed, attrgetter("login_words")),
    _rule("secret_assignment", KEY_WORD + BETWEEN + QUOTED, is_key, KEYS),
    _rule("secret_assignment", KEY_WORD + ARGUMENT + QUOTED, is_key, KEYS),
    _rule("secret_assignment", KEY_WORD + BETWEEN + ESCAPED, is_key, KEYS),
    _bare_rule("secret_assignment", KEY_WORD + IS + BARE, is_bare_key, KEYS),
    _bare_rule("secret_assignment", LINE_START + KEY_WORD + REST, is_bare_key, KEYS, _at_line),
    _rule("secret_assignment", KEY_WORD + BETWEEN + TRIPLE, is_key, KEYS),
    _rule("secret_assignment", PAIR_WORD + BETWEEN + QUOTED, is_cloud_key, PAIRS),
    _bare_rule("secret_assignment", PAIR_WORD + IS + BARE, lambda value, _: is_cloud_key(value), PAIRS),
    *(
        _rule(rule, pattern, accepts, words, begins)
        for rule, word, accepts, words in (
            ("password_assignment", LOGIN_WORD, is_value, LOGINS),
            ("secret_assignment", KEY_WORD, is_key, KEYS),
        )
        for pattern, begins in (
            (word + ELSEWHERE, _here),
            (r"\$\{[\w.-]{0,60}" + word + DEFAULT, _at_brace),
            (CALLED + word + ARGUMENT_ONLY, _before(word + r"\(\s{0,3}[\"'`]")),
        )
    ),
    _rule(
        "password_statement",
        LOGIN_CALL + r"[^()\n]{0,200}?,\s{0,3}" + QUOTED + r"\s{0,3}\)",
        is_password,
        attrgetter("login_calls"),
    ),
    _rule("connection_string", r"[a-z][a-z0-9+.-]{1,20}" + AUTHORITY, is_value, _of("://"), _before(AUTHORITY)),
    _rule(
        "connection_string",
        r"[?&;](?:password|pwd|passwd)=(?P<v>[^&\s;\"'<>]{4,200})",
        is_value,
        attrgetter("login_words"),
        _one_before,
    ),
    _rule(
        "authorization_header",
        r"(?<![A-Za-z0-9_])(?:bearer|basic)\s{1,3}(?P<v>[A-Za-z0-9+/_.=~-]{16,2000})",
        is_mixed,
        _of("bearer", "basic"),
    ),
    _rule(
        "command_line",
        r"(?<![A-Za-z0-9_])curl\b[^\n]{0,200}?\s(?:-u|--user)[ =]?[\"']?[\w.@-]{1,60}:(?P<v>[^\s'\"]{4,100})",
        is_value,
        _of("curl"),
    ),
    _rule(
        "command_line",
        r"(?<![A-Za-z0-9_])(?:sshpass\s+-p\s{0,2}|mysql\b[^\n]{0,100}?\s-p|--password[= ]"
        r"|docker\s+login\b[^\n]{0,200}?\s-p[ =]|redis-cli\b[^\n]{0,100}?\s-a[ ])[\"']?(?P<v>[^\s'\"]{5,100})",
        is_mixed,
        _of("sshpass", "mysql", "--password", "docker", "redis-cli"),
    ),
)


def find(text: str) -> Iterator[Span]:
    """All secrets by their neighbourhood, possibly overlapping."""
    telling, names = Telling(text), Names(text)
    for rule in RULES:
        yield from _found(rule, telling, names)


def _found(rule: _Rule, telling: Telling, names: Names) -> Iterator[Span]:
    for match in _matches(rule, telling):
        group = match.lastgroup or "v"
        value = _without_code(match[group]) if rule.bare else match[group]
        # What begins a line is judged by its first word: a value may go on after a blank, but doesn't change by that.
        word = value.split()[0].rstrip(CLOSING) if rule.bare and value else value
        if rule.accepts(word, names) and MASK not in value:
            place = match.start(group)
            yield Span(place, place + len(value), rule.name, rule.kind, value)


def _matches(rule: _Rule, telling: Telling) -> Iterator[re.Match[str]]:
    """What `finditer` would find: from left to right without overlaps."""
    text, end, tried = telling.text, 0, -1
    for place in rule.words(telling):
        for start in rule.begins(text, place):
            if start >= end and start != tried and (match := rule.pattern.match(text, start)):
                yield match
                end = match.end()
                break
            tried = start


def _without_code(value: str) -> str:
    """Without what text and code have after a value: closing brackets, and other arguments after a comma and a blank."""
    value = AFTER.split(value, maxsplit=1)[0]
    first, _, rest = value.partition(" ")
    return first.rstrip(CLOSING) if not rest or first.endswith(tuple(CLOSING)) else value
