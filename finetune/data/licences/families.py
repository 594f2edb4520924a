"""Which SPDX ids are known here, and of what family each is. The families are what an operator can leave out by name.

Names of licences and what they ask for are facts, from the SPDX licence list and the licences' own texts. An exception
(`WITH …`) changes what may be linked, not under what the text itself is: it doesn't change the family.
"""

from __future__ import annotations

# From the mildest to the strictest. Of an expression with AND the strictest counts, of one with OR the mildest.
FAMILIES: dict[str, tuple[str, ...]] = {
    "public_domain": ("public-domain", "Unlicense", "CC0-1.0", "blessing"),
    "permissive": (
        "0BSD", "AFL-2.1", "AFL-3.0", "Apache-1.0", "Apache-1.1", "Apache-2.0", "Artistic-2.0", "BlueOak-1.0.0", "BSD",
        "BSD-1-Clause", "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSD-4-Clause",
        "BSD-4-Clause-UC", "BSL-1.0", "bzip2-1.0.6", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "curl",
        "ECL-2.0", "FTL", "HPND", "ICU", "IJG", "Info-ZIP", "ISC", "JSON", "libpng-2.0", "MIT", "MIT-0",
        "MIT-Modern-Variant", "MS-PL", "MulanPSL-1.0", "MulanPSL-2.0", "NCSA", "NTP", "OpenSSL", "PHP-3.01",
        "PostgreSQL", "PSF-2.0", "Python-2.0", "Python-2.0.1", "Ruby", "SSH-OpenSSH", "TCL", "Unicode-3.0",
        "Unicode-DFS-2015", "Unicode-DFS-2016", "UPL-1.0", "Vim", "W3C", "WTFPL", "X11", "Zlib", "ZPL-2.1",
    ),
    "weak_copyleft": (
        "APSL-2.0", "Artistic-1.0", "Artistic-1.0-Perl", "CDDL-1.0", "CDDL-1.1", "CECILL-C", "CPL-1.0", "EPL-1.0",
        "EPL-2.0", "ErlPL-1.1", "IPL-1.0", "LGPL", "LGPL-2.0", "LGPL-2.0-only", "LGPL-2.0-or-later", "LGPL-2.1",
        "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0", "LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-1.0", "MPL-1.1",
        "MPL-2.0", "MPL-2.0-no-copyleft-exception", "MS-RL", "NPL-1.1", "OFL-1.1",
    ),
    "strong_copyleft": (
        "CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CECILL-2.0", "CECILL-2.1", "GFDL-1.1-or-later",
        "GFDL-1.2-or-later", "GFDL-1.3-only", "GFDL-1.3-or-later", "GPL", "GPL-1.0", "GPL-1.0-only", "GPL-1.0-or-later",
        "GPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0", "GPL-3.0-only", "GPL-3.0-or-later", "MulanPubL-1.0",
        "MulanPubL-2.0", "QPL-1.0", "Sleepycat",
    ),
    "network_copyleft": (
        "AGPL", "AGPL-1.0-only", "AGPL-1.0-or-later", "AGPL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "CPAL-1.0",
        "EUPL-1.0", "EUPL-1.1", "EUPL-1.2", "OSL-2.1", "OSL-3.0", "RPL-1.5",
    ),
    "source_available": (
        "BUSL-1.1", "CC-BY-ND-3.0", "CC-BY-ND-4.0", "Elastic-2.0", "FSL-1.1-ALv2", "FSL-1.1-MIT",
        "PolyForm-Shield-1.0.0", "PolyForm-Small-Business-1.0.0", "SSPL-1.0",
    ),
    "noncommercial": (
        "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-3.0",
        "CC-BY-NC-SA-4.0", "PolyForm-Noncommercial-1.0.0",
    ),
    "proprietary": ("Proprietary",),
    "other": ("other",),
}  # fmt: skip
OTHER = "other"  # stands for every id that is not above: what tenants write is not repeated in reports
_STRICTNESS = {family: place for place, family in enumerate(FAMILIES)}
_FAMILY = {name: family for family, names in FAMILIES.items() for name in names}
_SPELLED = {name.lower(): name for name in _FAMILY}


def known(name: str) -> str:
    """An id as it is spelled here, whatever its capitals; OTHER where it is unknown."""
    return _SPELLED.get(name.lower(), OTHER)


def family_of(name: str) -> str:
    return _FAMILY.get(name, OTHER)


def strictness(name: str) -> int:
    """Higher is stricter; an unknown id is the strictest."""
    return _STRICTNESS[family_of(name)]


def unwanted_names(words: str) -> tuple[str, ...]:
    """Families and ids from a list separated by commas, each once.

    Raises: ValueError naming what is neither.
    """
    asked = [word.strip() for word in words.split(",") if word.strip()]
    wrong = [word for word in asked if word not in FAMILIES and known(word) == OTHER]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)[:200]}: neither a family ({', '.join(FAMILIES)}) nor the SPDX id of a licence known here"
        )
    return tuple(dict.fromkeys(word if word in FAMILIES else known(word) for word in asked))


def is_among(name: str, unwanted: frozenset[str]) -> bool:
    """Whether an id, its version without `-only` or `-or-later`, or its family is listed."""
    version = name.removesuffix("-only").removesuffix("-or-later")
    return name in unwanted or version in unwanted or family_of(name) in unwanted
