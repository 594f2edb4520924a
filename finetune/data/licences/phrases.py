"""Licences by what their headers and texts say, where no SPDX tag does. A rule is a run of words that tells one from others.

Words are compared without capitals, punctuation and line breaks, so that comment marks and wrapping don't matter. Of several
licences the one named first counts, unless the text offers a choice.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable

from finetune.data.licences.expressions import MOST_NAMES, Licence, all_of, any_of, one, parse
from finetune.data.licences.families import OTHER, known
from finetune.data.licences.heads import HEAD_CHARACTERS

TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]{1,300})", re.IGNORECASE)
KEPT = (string.ascii_letters + string.digits + ".").encode()
PLAIN = bytes(byte if byte in KEPT or byte > 127 else ord(" ") for byte in range(256))
MOST_CHARACTERS = 64 * 1024
MOST_OF_HEADER = 4000  # a whole licence may say "alternatively" of anything
BEHIND = 1900  # how far behind its first words a licence's conditions are looked for
CHOICE = re.compile(r"\balternatively\b|\bdual licen|\btri licen|\beither of the following licen|\bat your choice\b")
Told = Callable[[str, re.Match[str]], str]


def licence_of(text: str) -> Licence | None:
    """What a head or a licence file says: its SPDX tag, else the licence that its words are of; None where neither is known."""
    tags = TAG.findall(text[:HEAD_CHARACTERS])  # further down they are of something that a licence file quotes
    if tags:
        return all_of(parse(tag) for tag in tags[:MOST_NAMES])
    words = words_of(text)
    if len(words) < 40 and (name := known(words.replace(" ", "-"))) != OTHER:
        return one(name)  # a file that says "Apache 2.0" and no more
    found: list[tuple[int, str]] = []
    for needle, pattern, told in RULES:
        if needle in words and (match := pattern.search(words)) and (name := told(words, match)):
            found.append((match.start(), name))
    if not found:
        return one("Proprietary") if _is_proprietary(words) else None
    if len(words) < MOST_OF_HEADER and CHOICE.search(words):
        names = list(dict.fromkeys(name for _, name in sorted(found)))[:MOST_NAMES]
        return any_of(map(parse, names))
    return parse(min(found)[1])


def words_of(text: str) -> str:
    """Small letters, digits and full stops, single blanks between."""
    # Bytes, for their table is twenty times as quick as one of characters.
    plain = text[:MOST_CHARACTERS].encode("utf-8", "replace").translate(PLAIN).decode("utf-8", "replace")
    return " ".join(plain.lower().split()).replace("licence", "license")


def _is_proprietary(words: str) -> bool:
    return bool(SECRET.search(words)) and bool(RESERVED.search(words))


SECRET = re.compile(
    r"\bconfidential\b|\bproprietary\b|\btrade secrets?\b|\bunauthorized (?:copying|use|reproduction)\b|保密|机密|未经许可|未经授权|未经.{0,12}授权"
)
RESERVED = re.compile(r"\ball rights reserved\b|\bcopyright\b|\bproprietary and confidential\b|版权所有")


def _is(name: str) -> Told:
    return lambda words, match: name


def _gnu(short: str) -> Told:
    def told(words: str, match: re.Match[str]) -> str:
        behind = words[match.end() : match.end() + 260]
        found = re.search(r"\b(?:version |v ?\.? ?)?([123](?:\.[01])?)\b", behind)
        if found is None:
            return short
        version = found[1] if "." in found[1] else f"{found[1]}.0"
        name = f"{short}-{version}"
        if re.search(r"\bany later version\b|\bor later\b|\bor newer\b|\bor above\b", behind):
            name += "-or-later"
        elif not re.match(
            r"[^.]{0,8}version [123](?:\.[01])?\.? (?:\d+ )?(?:june|november|february) (?:\d+ )?\d{4}", behind.strip()
        ):
            name += "-only"
        return name if known(name) != OTHER else short

    return told


def _versioned(short: str, default: str) -> Told:
    def told(words: str, match: re.Match[str]) -> str:
        found = re.match(r".{0,40}?\b(?:version |v\.? ?)?(\d\.\d)\b", words[match.end() : match.end() + 60])
        name = f"{short}-{found[1]}" if found else ""
        return name if name and known(name) != OTHER else default

    return told


REDISTRIBUTION = re.compile(r"\bredistribution and use in source and binary forms\b")


def _bsd(words: str, match: re.Match[str]) -> str:
    """Which one of the licences that begin with the same words."""
    text = words[match.start() : match.start() + BEHIND]
    if "apache software foundation" in text and "end user documentation" in text:
        return "Apache-1.1"
    if "openssl toolkit" in text:
        return "OpenSSL"
    if "all advertising materials" in text:
        return "BSD-4-Clause"
    return (
        "BSD-3-Clause"
        if re.search(r"\bneither the names? of\b|\bused to endorse or promote\b", text)
        else "BSD-2-Clause"
    )


def _some_bsd(words: str, match: re.Match[str]) -> str:
    """A licence that is called BSD's; its conditions may follow and tell which."""
    found = REDISTRIBUTION.search(words, match.end())
    return _bsd(words, found) if found else "BSD"


def _mit(words: str, match: re.Match[str]) -> str:
    text = words[match.start() : match.start() + BEHIND]
    if "redistributions of source code must retain" in text:
        return "NCSA"
    if "except as contained in this notice" in text:
        return "X11"
    return "MIT" if "shall be included in" in text or "permission notice" in text or len(text) < 600 else "MIT-0"


def _isc(words: str, match: re.Match[str]) -> str:
    return "ISC" if "provided that" in words[match.end() : match.end() + 80] else "0BSD"


def _hpnd(words: str, match: re.Match[str]) -> str:
    return "PostgreSQL" if "without a written agreement" in words[match.end() : match.end() + 120] else "HPND"


def _creative_commons(words: str, match: re.Match[str]) -> str:
    terms = (
        match["terms"]
        .replace("noncommercial", "nc")
        .replace("non commercial", "nc")
        .replace("sharealike", "sa")
        .replace("share alike", "sa")
    )
    terms = terms.replace("noderivatives", "nd").replace("no derivatives", "nd").replace("noderivs", "nd").split()
    kept = [term for term in ("nc", "sa", "nd") if term in terms]
    order = [term for term in ("nc", "nd", "sa") if term in kept]
    return "-".join(["CC-BY", *(term.upper() for term in order), match["version"]])


def _rules(*rules: tuple[str, str, Told]) -> tuple[tuple[str, re.Pattern[str], Told], ...]:
    return tuple((needle, re.compile(pattern), told) for needle, pattern, told in rules)


UNDER = r"\b(?:licensed|released|distributed|available|provided|published|covered) (?:to you )?under (?:the )?(?:terms (?:and conditions )?of (?:the )?)?"
# The first is a part of whatever the pattern finds: looking for it alone is many times as quick.
RULES = _rules(
    ("affero", r"\bgnu affero general public license\b", _gnu("AGPL")),
    ("gnu l", r"\bgnu (?:lesser|library) (?:or lesser )?general public license\b", _gnu("LGPL")),
    ("gnu general", r"\bgnu general public license\b", _gnu("GPL")),
    ("gnu free", r"\bgnu free documentation license version 1.[0-3]\b", _is("GFDL-1.3-or-later")),
    ("gpl", UNDER + r"(?:gnu )?gpl(?:\b|(?=v ?[123]))", _gnu("GPL")),
    ("lgpl", UNDER + r"(?:gnu )?lgpl(?:\b|(?=v ?[123]))", _gnu("LGPL")),
    ("agpl", UNDER + r"(?:gnu )?agpl(?:\b|(?=v ?[123]))", _gnu("AGPL")),
    ("apache license", r"\bapache license (?:version |v\.? ?)?2(?:\.0)?\b", _is("Apache-2.0")),
    ("apache", r"\bapache (?:software license )?(?:version |v\.? ?)?2(?:\.0)? license\b|\bapache software license (?:version |v)?2\b", _is("Apache-2.0")),
    ("apache", UNDER + r"(?:apache|asl) ?(?:version |v\.? ?)?2(?:\.0)?\b|\bapache.org licenses license 2.0\b", _is("Apache-2.0")),
    ("mozilla", r"\bmozilla public license\b", _versioned("MPL", "MPL-2.0")),
    ("eclipse", r"\beclipse public license\b", _versioned("EPL", "EPL-2.0")),
    ("eclipse", r"\beclipse distribution license\b", _is("BSD-3-Clause")),
    ("common dev", r"\bcommon development and distribution license\b", _versioned("CDDL", "CDDL-1.0")),
    ("common public", r"\bcommon public license\b", _is("CPL-1.0")),
    ("boost", r"\bboost software license\b", _is("BSL-1.0")),
    ("free of charge", r"\bhereby granted free of charge to any person or organization obtaining a copy\b", _is("BSL-1.0")),
    ("free of charge", r"\bhereby granted free of charge to any person obtaining a copy of (?:this|the) software\b", _mit),
    ("of the unicode", r"\bhereby granted free of charge to any person obtaining a copy of the unicode\b", _is("Unicode-DFS-2016")),
    ("of data files", r"\bhereby granted free of charge to any person obtaining a copy of data files\b", _is("Unicode-3.0")),
    ("mit ", r"\bmit licensed?\b|\bmit style license\b", _is("MIT")),
    (" mit", r"\blicense mit\b|" + UNDER + r"mit\b", _is("MIT")),
    ("redistribution and use", REDISTRIBUTION.pattern, _bsd),
    ("bsd", r"\b(?:new|modified|revised|3 clause) bsd\b|\bbsd 3 clause\b|\bbsd (?:new|modified|revised)\b", _is("BSD-3-Clause")),
    ("bsd", r"\b(?:simplified|2 clause) bsd\b|\bbsd 2 clause\b|\bfreebsd license\b", _is("BSD-2-Clause")),
    ("bsd", r"\bbsd licensed?\b|\blicense bsd\b|" + UNDER + r"bsd\b", _some_bsd),
    ("with or without fee", r"\bto use copy modify and (?:or )?distribute this software for any purpose with or without fee is hereby granted\b", _isc),
    ("to use copy modify", r"\bto use copy modify (?:and )?(?:or )?distribute (?:and sell )?this software and its documentation\b", _hpnd),
    ("isc license", r"\bisc licensed?\b", _is("ISC")),
    ("in no event will", r"\bin no event will the authors? be held liable for any damages arising from the use of this software\b", _is("Zlib")),
    ("zlib license", r"\bzlib license\b", _is("Zlib")),
    ("unencumbered", r"\bthis is free and unencumbered software released into the public domain\b", _is("Unlicense")),
    ("cc0", r"\bcc0 1.0\b|\bcreative commons cc0\b", _is("CC0-1.0")),
    ("zero", r"\bcreative commons zero\b|\bcreativecommons.org publicdomain zero\b", _is("CC0-1.0")),
    ("creativecommons", r"\bcreativecommons.org licenses by(?P<terms>[a-z ]{0,12}) (?P<version>\d\.\d)\b", _creative_commons),
    ("attribution", r"\b(?:creative commons )?attribution(?P<terms>[a-z ]{0,40}?) (?P<version>[234]\.[05])\b", _creative_commons),
    ("disclaims copyright", r"\bdisclaims copyright to this source code\b", _is("blessing")),
    ("public domain", r"\b(?:released|placed|put) (?:in|into|to) the public domain\b|\bis in the public domain\b", _is("public-domain")),
    ("mulan", r"\bmulan (?:permissive software license version 1|psl v1)\b", _is("MulanPSL-1.0")),
    ("mulan", r"\bmulan (?:permissive software license|psl)\b", _is("MulanPSL-2.0")),
    ("mulan pub", r"\bmulan (?:public license|publ)\b", _is("MulanPubL-2.0")),
    ("木兰", r"木兰宽松许可证.{0,4}第1版", _is("MulanPSL-1.0")),
    ("木兰", r"木兰宽松许可证", _is("MulanPSL-2.0")),
    ("木兰", r"木兰公共许可证", _is("MulanPubL-2.0")),
    ("business source", r"\bbusiness source license\b", _is("BUSL-1.1")),
    ("server side public", r"\bserver side public license\b", _is("SSPL-1.0")),
    ("elastic license", r"\belastic license (?:2.0|v2)\b", _is("Elastic-2.0")),
    ("polyform", r"\bpolyform noncommercial license\b", _is("PolyForm-Noncommercial-1.0.0")),
    ("polyform", r"\bpolyform shield license\b", _is("PolyForm-Shield-1.0.0")),
    ("polyform", r"\bpolyform small business license\b", _is("PolyForm-Small-Business-1.0.0")),
    ("functional source", r"\bfunctional source license\b", _is("FSL-1.1-ALv2")),
    ("european union", r"\beuropean union public license\b", _versioned("EUPL", "EUPL-1.2")),
    ("open software", r"\bopen software license\b", _versioned("OSL", "OSL-3.0")),
    ("academic free", r"\bacademic free license\b", _versioned("AFL", "AFL-3.0")),
    ("perl itself", r"\bthe same terms as perl itself\b", _is("Artistic-1.0-Perl OR GPL-1.0-or-later")),
    ("artistic license", r"\bartistic license (?:version )?2.0\b", _is("Artistic-2.0")),
    ("artistic license", r"\bartistic license\b(?! (?:version )?2.0)", _is("Artistic-1.0")),
    ("history of the software", r"\bhistory of the software python was created\b", _is("Python-2.0")),
    ("open font", r"\bsil open font license\b", _is("OFL-1.1")),
    ("python software foundation", r"\bpython software foundation license\b", _is("PSF-2.0")),
    ("psf license", r"\bpsf license\b", _is("PSF-2.0")),
    ("microsoft", r"\bmicrosoft public license\b", _is("MS-PL")),
    ("microsoft", r"\bmicrosoft reciprocal license\b", _is("MS-RL")),
    ("universal perm", r"\buniversal permissive license\b", _is("UPL-1.0")),
    ("do what the", r"\bdo what the fuck you want to public license\b", _is("WTFPL")),
)  # fmt: skip
