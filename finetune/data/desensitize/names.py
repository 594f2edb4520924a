"""Names of people where the text says that they are some: author tags, copyright lines, trailers of commits.

Precision first. A tag says that a name follows; a recogniser of shapes and short lists must agree that it is a person's, and
how much it asks for depends on the tag: after `Signed-off-by:` two words with capitals do, after `Copyright` one of them must
be known, because companies stand there. What is not sure stays: organisations, teams, tools, and single words but logins made
of names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum

from finetune.data.desensitize.name_words import (
    AFTER_A_NAME,
    COMPANIES,
    GIVEN,
    HAN,
    HAN_COMPOUND,
    HAN_NOT_LAST,
    HAN_STAND_INS,
    HAN_SURNAMES,
    NOT_A_PERSON,
    PINYIN_LOGIN,
    SURNAMES,
    is_pinyin,
)
from finetune.data.desensitize.on_lines import places, small
from finetune.data.desensitize.spans import MASK, Span


class Trust(Enum):
    """What a tag says of the words after it."""

    PERSON = "a person, hardly ever anything else"
    AUTHOR = "a person or a team"
    OWNER = "a person or, more often, a company"


MARKS = rf"(?:^|{MASK})[ \t]*(?:[#/*;%!.|>-]|<!--|'{{3}}|r\"{{3}}|\"|REM\b|dnl\b)*+[ \t]*(?:[-*•+][ \t]+)?"
BETWEEN = r"[ \t]*[:：=-]+[ \t]*"
ROLE = r"(?:author|maintainer|contributor|developer|programmer|creator|reviewer|coder)(?:s|\(s\))?"
DONE = (
    r"(?:written|created|authored|developed|maintained|contributed|implemented|modified|changed|updated|ported|rewritten"
    r"|edited)"
)
ROLE_HAN = (
    "(?:原?作者|编写者?|编写人员?|撰写人?|创建者|创建人"
    "|修改者|修改人|更新人|维护者|维护人|负责人|责任人|开发者|开发人员?|审核人|编码)"
)
YEARS = r"(?:(?:19|20)\d\d(?:[ \t]*[-–,/][ \t]*(?:(?:19|20)?\d\d|present|now))*)"
RIGHTS = r"(?:copyright|版权所有|版权|\(c\)|©)"
WHEN = r"(?:\d{1,4}[-/.年]\d{1,2}|\d{1,2}(?:st|nd|rd|th)?[ ]+\w{3,9}|\w{3,9}[ ]+\d{1,2}|\d{4})"
TAGS: tuple[tuple[Trust, re.Pattern[str]], ...] = tuple(
    (trust, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for trust, pattern in (
        (Trust.PERSON, r"(?:signed-off|co-authored|reviewed|acked|tested|reported|suggested)-by:[ \t]*"),
        (Trust.PERSON, rf"(?:[@\\]author|:author:|\.\.[ \t]+(?:code|section|module)author::|@{ROLE_HAN})[ \t]*[:：]?[ \t]+"),
        (Trust.PERSON, rf"\b(?:created|modified|updated|changed|edited)[ ]+by[ ]+(?=[^\n]{{2,60}}?[ ]+(?:on|at)[ ]+{WHEN})"),
        (Trust.AUTHOR, rf"{MARKS}(?:[\w-]+[ \t]+){{0,2}}?{ROLE}(?:[ \t]+(?:name|list))?{BETWEEN}"),
        (Trust.AUTHOR, rf"\b{DONE}[ ]+by(?:[ \t]*:)?[ \t]+"),
        (Trust.AUTHOR, rf"{ROLE_HAN}[ \t]*[:：]+[ \t]*"),
        (Trust.AUTHOR, rf"(?:\b__(?:author|maintainer)__|\b{ROLE}|[\"']{ROLE}[\"'])[ \t]*[:=][ \t]*\[?[ \t]*[\"']"),
        (Trust.OWNER, rf"{RIGHTS}(?:[ \t]*{RIGHTS})?[ \t:：]*(?:{YEARS}[ \t,]*)?(?:by[ \t]+|属于|归)?"),
    )
)  # fmt: skip
# Tried only around these, in small letters: many times faster than the tags everywhere.
HINTS = (
    *("author", "copyright", "(c)", "-by:", "maintainer", "contributor", "developer", "programmer", "creator", "coder"),
    "reviewer",
)
BY = " by"  # counts behind one of these
BEFORE_BY = (
    *("written", "created", "developed", "maintained", "contributed", "implemented", "modified", "changed", "updated"),
    *("ported", "edited"),
)
HINTS_BEYOND_ASCII = ("©", "作者", "版权", "编写", "撰写", "编码", "人:", "人：", "者:", "者：", "员:", "员：")
REACH = 300
MOST_REPEATED = 50  # names of one text that are looked for everywhere in it
UP = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĘĚĞİĪŁŃŇŌŐŒŘŚŞŠȘŢŤȚŪŮŰŹŻŽ"
LOW = "a-zß-öø-ÿāăąćčďđēęěğıīłńňōőœřśşšșţťțūůűźżž"
WORD = rf"(?:(?:Mc|Mac|[OD]['’]|De|Di|Le|La|Van|Fitz)?[{UP}][{LOW}]+(?:[-'’][{UP}]?[{LOW}]+)*)"
INITIAL = rf"[{UP}]\.(?:-?[{UP}]\.)*"
PARTICLES = "(?:(?:van|von|de|der|den|da|di|del|della|dos|du|la|le|bin|ibn|al|el|ter|ten|zu|zur|af|av)[ ]+){0,2}"
LATIN = re.compile(
    rf"(?:{WORD}|{INITIAL})(?:[ ]+{PARTICLES}(?:{WORD}|{INITIAL}|(?:[OD]['’])?[{UP}]{{2,20}}(?![{LOW}]))){{1,4}}"
)
LAST_FIRST = re.compile(rf"{WORD},[ ]{WORD}(?=[ \t]*(?:$|[<(*\n]))", re.MULTILINE)
CHINESE = re.compile(
    rf"(?:(?:{HAN_COMPOUND})[{HAN}]{{1,2}}|[{HAN_SURNAMES}][{HAN}]{{1,2}})(?![{HAN}]|·)|[{HAN_SURNAMES}][{HAN}]{{1,2}}(?=于|在)"
)
LOGIN = re.compile(r"[A-Za-z]+(?:[._-][A-Za-z]+){0,2}\d{0,4}")
# What a name does not end before: the rest of a word, a call, an address, a path, a type.
GOES_ON = re.compile(r"[\w(\[=\\@{]|[.:/-]\w|[ ]?=")
NEXT = re.compile(
    r"[ \t]*(?:[<(\[][^<>()\[\]\n]{0,80}[>)\]])?[\"']?[ \t]*(?:[,;&、，；/+]|\b(?:and|und|et|with)\b|和|与)"
    r"[ \t]*[\"']?(?:and[ ]+)?"
)
REACHED_AT = re.compile(rf"[ \t]*(?:[<(\[]?{MASK}|[<(\[][^\s<>()]{{1,64}}(?:@|[ ]at[ ]))")
LONG = 5  # letters of a surname in capitals; shorter ones may be an abbreviation
AROUND = "\"'`“”"


def names(text: str) -> Iterator[Span]:
    """All names that are surely some; a whole Latin name is found wherever else it stands in the text, too."""
    found = {
        (start + place, start + stop)
        for start, line in _lines(text)
        for trust, tag in TAGS
        for match in tag.finditer(line)
        for place, stop in _listed(line, match.end(), trust)
    }
    whole = sorted({text[place:stop] for place, stop in found if " " in text[place:stop]})
    for name in whole[:MOST_REPEATED]:
        found |= set(_again(text, name))
    for place, stop in sorted(found):
        yield Span(place, stop, "person_name", "NAME", "name " + " ".join(text[place:stop].casefold().split()))


def _again(text: str, name: str) -> Iterator[tuple[int, int]]:
    """Where a name stands as whole words; searched for as it is, since a pattern would look at every place."""
    for place in places(name, text):
        stop = place + len(name)
        if not (_is_of_word(text[place - 1 : place]) or _is_of_word(text[stop : stop + 1])):
            yield place, stop


def _is_of_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with a hint, each once; of long ones what stands around the hints."""
    done = 0
    for place in _hinted(text):
        if place < done:
            continue
        earliest = max(done, place - REACH)
        start = max(text.rfind("\n", earliest, place) + 1, earliest)
        line_end = text.find("\n", place, place + REACH)
        done = line_end if line_end >= 0 else place + REACH
        yield start, text[start:done]


def _hinted(text: str) -> list[int]:
    lowered = small(text)
    hints = HINTS if text.isascii() else HINTS + HINTS_BEYOND_ASCII
    found = [place for hint in hints for place in places(hint, lowered)]
    for place in places(BY, lowered):
        word = next((word for word in BEFORE_BY if lowered.endswith(word, 0, place)), None)
        if word:
            found.append(place - len(word))
    return sorted(found)


def _listed(line: str, at: int, trust: Trust) -> Iterator[tuple[int, int]]:
    """The names from a place on, one after the other, as far as they are sure."""
    while at < len(line):
        while at < len(line) and line[at] in AROUND:
            at += 1
        place = _name(line, at, trust)
        if place is None:
            return
        yield place
        following = NEXT.match(line, place[1])
        if following is None:
            return
        at = following.end()


def _name(line: str, at: int, trust: Trust) -> tuple[int, int] | None:
    if (han := CHINESE.match(line, at)) is not None:
        return han.span() if _is_chinese(han[0]) else None
    if (turned := LAST_FIRST.match(line, at)) is not None and _plain(turned[0].split(", ")[1]) in GIVEN:
        return turned.span()
    latin = LATIN.match(line, at)
    if latin is not None:
        return _latin(line, latin, trust)
    login = LOGIN.match(line, at)
    if login is None or trust is Trust.OWNER or GOES_ON.match(line, login.end()):
        return None
    return login.span() if _is_login(login[0]) else None


def _latin(line: str, found: re.Match[str], trust: Trust) -> tuple[int, int] | None:
    words: list[str] = []
    end = found.end()
    for word in re.finditer(r"\S+", found[0]):
        if _plain(word[0]) in AFTER_A_NAME and words:
            end = found.start() + len(found[0][: word.start()].rstrip())
            break
        words.append(word[0])
    plain = [_plain(word) for word in words]
    if len(words) < 2 or " ".join(plain) in COMPANIES or NOT_A_PERSON.intersection(plain) or GOES_ON.match(line, end):
        return None
    return (found.start(), end) if _is_sure(words, plain, trust, bool(REACHED_AT.match(line, end))) else None


def _is_sure(words: list[str], plain: list[str], trust: Trust, has_address: bool) -> bool:
    """Whether words in the shape of a name are a person's, after such a tag."""
    if trust is Trust.PERSON:
        return True
    known = plain[0] in GIVEN or is_pinyin(plain) or (plain[0] in SURNAMES and plain[-1] in GIVEN)
    if trust is Trust.OWNER:
        return known or has_address
    initial = any(word.endswith(".") and len(word) <= 3 for word in words)
    return known or has_address or initial or plain[-1] in SURNAMES or (words[-1].isupper() and len(words[-1]) >= LONG)


def _is_chinese(name: str) -> bool:
    return name[-1] not in HAN_NOT_LAST and name not in HAN_STAND_INS and name[:2] not in HAN_STAND_INS


def _is_login(word: str) -> bool:
    """`zhangsan`, `jane.doe`, `jsmith`; a given name alone only with a capital."""
    plain = word.lower().rstrip("0123456789")
    parts = re.split(r"[._-]", plain)
    if len(parts) == 1:
        titled = word.istitle() and plain in GIVEN
        return titled or PINYIN_LOGIN.fullmatch(plain) is not None or (plain[1:] in SURNAMES and len(plain) > 5)
    return not NOT_A_PERSON.intersection(parts) and (
        (parts[0] in GIVEN and len(parts[-1]) > 1) or parts[-1] in SURNAMES or is_pinyin(parts)
    )


def _plain(word: str) -> str:
    """In small letters without accents, the first part of what a hyphen joins."""
    bare = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower().strip(".,'")
    return bare.split("-")[0]
