"""What heads and licence files are recognised as, in whatever comments they stand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.licences.families import FAMILIES, OTHER, family_of, known
from finetune.data.licences.heads import HEAD_CHARACTERS, comments_of
from finetune.data.licences.phrases import licence_of
from tests.finetune.data.licences import texts


def name_of(text: str) -> str | None:
    head = comments_of(text)
    licence = licence_of(head) if head else None
    return licence.name if licence else None


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (texts.APACHE, "Apache-2.0"),
        (texts.GPL_2_LATER, "GPL-2.0-or-later"),
        (texts.GPL_2_ONLY, "GPL-2.0-only"),
        (texts.GPL_2_LATER.replace("General", "Affero General").replace("version 2", "version 3"), "AGPL-3.0-or-later"),
        (
            texts.GPL_2_LATER.replace("General", "Lesser General").replace("version 2", "version 2.1"),
            "LGPL-2.1-or-later",
        ),
        ("It is under the terms of the GNU General Public License.", "GPL"),
        ("Licensed under the GPLv3", "GPL-3.0-only"),
        (texts.MIT, "MIT"),
        (texts.BSD_2, "BSD-2-Clause"),
        (texts.BSD_3, "BSD-3-Clause"),
        ("License: BSD, see LICENSE for details", "BSD"),
        (texts.ZLIB, "Zlib"),
        ("This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0.", "MPL-2.0"),
        ("made available under the terms of the Eclipse Public License v1.0", "EPL-1.0"),
        ("Licensed under Mulan PSL v2.", "MulanPSL-2.0"),
        ("本软件采用木兰宽松许可证第2版", "MulanPSL-2.0"),
        ("License: https://creativecommons.org/licenses/by-nc-sa/4.0/", "CC-BY-NC-SA-4.0"),
        ("Dual licensed under the MIT license and the GNU General Public License version 2", "GPL-2.0-only OR MIT"),
        ("SPDX-License-Identifier: (gpl-2.0-only WITH Linux-syscall-note) OR MIT", "GPL-2.0-only OR MIT"),
        ("SPDX-License-Identifier: LicenseRef-hunter2", OTHER),
        ("Copyright (c) 2024 Acme. All rights reserved. Confidential.", "Proprietary"),
        ("Copyright (c) 2024 Acme. All rights reserved.", None),
        ("Tested with Apache 2.4 and the license server", None),
        ("Governed by a BSD-style license that can be found in the LICENSE file", None),
    ],
)
def test_a_head_is_recognised_in_any_comment(words: str, name: str | None) -> None:
    lines = words.splitlines()
    heads = (
        texts.commented(words),
        texts.commented(words, "// "),
        texts.commented(words, " -- "),
        "/*\n" + "".join(f" * {line}\n" for line in lines) + " */\nint x;\n",
        "/* " + words + " */\nint x;\n",
        "<!--\n" + words + "\n-->\n<p>x</p>\n",
        '"""About.\n\n' + words + '\n"""\nx = 1\n',
        "package a;\n\n#ifndef A\n#define A\n" + texts.commented(words, "// "),
    )
    assert [name_of(head) for head in heads] == [name] * len(heads)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Apache 2.0\n", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n", "GPL-3.0"),
        (
            "GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1, February 1999\n" + "and the GNU General Public License",
            "LGPL-2.1",
        ),
        ("The BSD License (3 Clause)\n" + texts.BSD_3, "BSD-3-Clause"),
        (
            "A. HISTORY OF THE SOFTWARE\nPython was created in 1990. GPL: GNU General Public License version 2",
            "Python-2.0",
        ),
        (texts.MIT + "\n" + "words " * 2000 + "\nSPDX-License-Identifier: GPL-2.0-only", "MIT"),
    ],
)
def test_a_licence_file_is_what_it_begins_with(text: str, name: str) -> None:
    licence = licence_of(text)
    assert licence is not None
    assert licence.name == name


def test_code_and_strings_are_not_read() -> None:
    assert name_of(f"x = '''\n{texts.GPL_2_LATER}\n'''\n") is None
    assert name_of("x = 1\n" * 50 + texts.commented(texts.GPL_2_LATER)) is None
    assert name_of("# the license\n" + " " * HEAD_CHARACTERS + "\n" + texts.commented(texts.MIT)) is None


def test_a_huge_or_odd_head_is_read_within_bounds() -> None:
    assert name_of("/* license " + "x" * 3_000_000) is None
    assert name_of("# SPDX-License-Identifier: " + "(" * 1_000_000) == OTHER
    assert name_of("\ufeff\x1f# licence \ud800 MIT License\n# The MIT License\n") == "MIT"


@pytest.mark.parametrize(
    "piece", ["gnu general public license ", "licensed under the ", "attribution ", "mit ", "(", "版权 "]
)
def test_a_licence_file_full_of_first_words_is_read_quickly(piece: str) -> None:
    """A pattern that went through the text again from each of its places would take minutes, and the test time out."""
    for _ in range(10):
        licence_of(piece * (200_000 // len(piece)))


@settings(deadline=None)
@given(st.text(max_size=300), st.sampled_from(["licence ", "# SPDX-License-Identifier:", "/* permission gnu general "]))
def test_what_is_said_of_any_text_is_a_known_name(text: str, begins: str) -> None:
    head = comments_of(begins + text)
    licence = licence_of(head) if head else None
    for names in licence.choices if licence else ():
        assert all(known(name) == name for name in names)


def test_every_id_is_of_one_family_and_found_whatever_its_capitals() -> None:
    names = [name for members in FAMILIES.values() for name in members]
    assert len({name.lower() for name in names}) == len(names)
    assert all(known(name.upper()) == name for name in names)
    assert (family_of("GPL-2.0-only"), family_of("never-heard-of")) == ("strong_copyleft", OTHER)


def test_several_tags_hold_together() -> None:
    text = "// SPDX-License-Identifier: MIT\n// SPDX-License-Identifier: GPL-3.0-only\nint x;\n"
    assert name_of(text) == "GPL-3.0-only AND MIT"
