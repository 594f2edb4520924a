"""Names after author tags, and what looks like one and is none."""

from __future__ import annotations

import pytest

from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.names import names
from finetune.data.desensitize.placeholders import Placeholders
from finetune.data.python_syntax import parses


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in names(text)]


def cleaned(text: str) -> str:
    cleaner = Cleaner(Placeholders(b"key"))
    list(cleaner.learn([(0, (text,))]))
    return cleaner.clean(0, text).text


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (" * @author Jane Doe", "Jane Doe"),
        ("# Author: Zbyněk Ørsted <z@firma.cz>", "Zbyněk Ørsted"),
        ("# Author(s): Jane Doe", "Jane Doe"),
        ("// Copyright (c) 2020 Jane Doe. All rights reserved.", "Jane Doe"),
        ("# Copyright 2001-2003, 2005 by Anna van der Berg", "Anna van der Berg"),
        ("-- Written by Paul McKenna, 2019", "Paul McKenna"),
        ("//  Created by Quirin Obermoser on 12/3/20.", "Quirin Obermoser"),
        ("Signed-off-by: Quirin Obermoser <q@firma.de>", "Quirin Obermoser"),
        ("# Original author: Doe, Jane", "Doe, Jane"),
        ("# Maintainer: J. R. Hartley", "J. R. Hartley"),
        ("; Last modified by: Jean DUPONT", "Jean DUPONT"),
        ("# 作者：欧阳建国", "欧阳建国"),
        ("// 修改人: 李四 2020-01-01", "李四"),
        ("* @author 张伟", "张伟"),
        ("* @author zhangsan", "zhangsan"),
        ("# Author: Xiaoming Wang", "Xiaoming Wang"),
        ('__author__ = "Jane Doe"', "Jane Doe"),
        ('    author="Jane Doe",', "Jane Doe"),
        ("<!-- Author: jane.doe -->", "jane.doe"),
    ],
)
def test_it_finds_who_an_author_tag_names(line: str, name: str) -> None:
    assert found(line) == [name]


def test_it_finds_every_name_of_a_list() -> None:
    assert found("# Contributors: Jane Doe, Wei Zhang <w@x.cn> and José Álvarez") == [
        "Jane Doe",
        "Wei Zhang",
        "José Álvarez",
    ]
    assert found("开发者：张三、李四") == ["张三", "李四"]


@pytest.mark.parametrize(
    "line",
    [
        "# Copyright (c) 2020 Blue Harbor Software GmbH",
        "# Copyright 2019 Preferred Networks",
        "# Copyright 2019 The Widget Authors",
        "# Author: Platform Team",
        "# Author: unknown",
        "# Authors: see AUTHORS",
        "Author: $USER",
        "author: Author = None",
        "self.author: Mapped[str] = author",
        "book.author = Author(first, last)",
        "def created_by(self, user): ...",
        "# Created by IntelliJ IDEA.",
        "# Created by SchemaGenerator on 2020-01-02",
        "# Written by hand for the Job Page",
        "# Modified by Event.apply",
        " * @author basket",
        " * @author machine",
        "作者：平台组",
        "作者：未知",
        "创建人：管理员",
        "维护者：基础架构团队",
        "版权所有 © 2021 北京蓝海科技有限公司",
        "创建：方法返回新的对象",
    ],
)
def test_it_leaves_what_is_not_surely_a_person(line: str) -> None:
    assert found(line) == []


def test_it_finds_the_whole_name_again_where_no_tag_stands() -> None:
    text = "# Author: Jane Doe\n\n# 2021: Jane Doe made it faster; JaneDoe and Janet Doe did not\n"
    assert cleaned(text).count("REDACTED_NAME_1") == 2
    assert "JaneDoe and Janet Doe" in cleaned(text)


def test_it_gives_one_person_one_placeholder_and_leaves_python_python() -> None:
    header = '"""Orders.\n\nAuthor: Jane Doe <jane@firma.de>\n作者：张三\n"""\n'
    text = header + '\n__author__ = "jane  doe"\n__maintainer__ = "Jane Doe"\nx = 1\n'
    after = cleaned(text)
    assert parses(after)
    assert "Author: REDACTED_NAME_1 <REDACTED_EMAIL_1>" in after
    assert "作者：REDACTED_NAME_2" in after
    assert '__maintainer__ = "REDACTED_NAME_1"' in after


@pytest.mark.parametrize(
    "hostile",
    [
        "author: " * 40000,
        "#" * 200000 + "author:",
        "\0" * 200000 + "author",
        "Author: " + "Jane " * 60000,
        ('"' * 500 + " author x\n") * 20,
        ("'" * 500 + " author x\n") * 20,
    ],
)
def test_it_stays_linear_on_hostile_text(hostile: str) -> None:
    assert len(found(hostile)) <= len(hostile) // 8


def test_a_letter_with_two_small_ones_hides_no_tag() -> None:
    assert found("# İstanbul\n# Author: Jane Smith\n") == ["Jane Smith"]


def test_a_name_that_is_found_again_stands_by_itself() -> None:
    assert found("# Author: Jane Smith\nJane Smithson, xJane Smith, Jane Smith_2, (Jane Smith)") == ["Jane Smith"] * 2
