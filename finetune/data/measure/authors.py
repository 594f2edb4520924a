"""Comment headers that name people, and headers alike that name none: after the habits of Javadoc, Sphinx, Debian, Xcode, git and Chinese IDEs.

In a line `<V>` is a name, `<C>` an organisation, `<E>` an e-mail address, `<Y>` a year, `<T>` a day and `<W>` a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from finetune.data.measure.draw import Draw
from finetune.data.measure.people import email

FIRST = (
    "Maribel Torvald Ingeborg Mette Sanne Pieter Ewa Jadwiga Ondřej Zsófia Gábor Nuno Inês Beatriz Joaquín Íñigo Chiara Giacomo Elif "
    "Emre Ayşe Siobhán Niamh Rhys Deepak Priya Anjali Kavya Haruto Aoi Minjun Seoyeon Olumide Chidi Amara Tomáš Katarína Jane John "
    "Michael Sarah Thomas Anna Peter Laura David Julia Martin Robert Elena Andreas Claire Hans Daniel Maria Stefan James Emily"
).split()  # fmt: skip
LAST = (
    "Halvorsen Lindqvist Brzezinski Wiśniewska Novotný Horváth Fonseca Teixeira Echeverría Bianchi Yıldırım O'Sullivan Llewellyn "
    "Krishnan Banerjee Deshpande Yamashita Fujimoto Park Adeyemi Okafor Doe Smith Johnson Müller Weber Dubois Garcia Rossi Jansen "
    "Kowalski Novak Bergström Hofstadter McAllister Petrov Whitcombe Castellanos"
).split()  # fmt: skip
PARTICLES = ("van der", "von", "de", "di", "van", "de la")
HAN_FIRST = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
HAN_GIVEN = (
    "伟",
    "芳",
    "娜",
    "敏",
    "静",
    "磊",
    "洋",
    "艳",
    "勇",
    "建国",
    "志强",
    "晓明",
    "雨桐",
    "子涵",
    "文博",
    "海燕",
    "思远",
    "佳怡",
    "俊杰",
    "美玲",
)
SOUNDS = ("Zhang", "Wang", "Chen", "Liu", "Zhao", "Huang", "Zhou", "Xu", "Lin", "Guo", "Zheng", "Feng")
GIVEN_SOUNDS = (
    "Wei",
    "Xiaoming",
    "Jianguo",
    "Yutong",
    "Min",
    "Haiyan",
    "Zhiqiang",
    "Jing",
    "Wenbo",
    "Siyuan",
    "Lei",
    "Na",
)


def latin(draw: Draw) -> str:
    first, last = draw.one(FIRST), draw.one(LAST)
    return draw.one((
        f"{first} {last}", f"{first} {last}", f"{first} {last}", f"{first} {draw.one('ABDHKMRT')}. {last}",
        f"{first[0]}. {last}", f"{first} {draw.one(PARTICLES)} {last}", f"{first} {last}-{draw.one(LAST)}", f"{first} {last.upper()}",
        f"{first}-{draw.one(FIRST)} {last}",
    ))  # fmt: skip


def chinese(draw: Draw) -> str:
    return draw.one(HAN_FIRST) + draw.one(HAN_GIVEN)


def in_sounds(draw: Draw) -> str:
    surname, given = draw.one(SOUNDS), draw.one(GIVEN_SOUNDS)
    return draw.one((f"{surname} {given}", f"{given} {surname}"))


def login(draw: Draw) -> str:
    first, last = draw.one(FIRST[-18:]).lower(), draw.one(("smith", "johnson", "weber", "garcia", "jansen", "kowalski"))
    return draw.one((f"{first}.{last}", f"{first[0]}{last}", (draw.one(SOUNDS) + draw.one(GIVEN_SOUNDS)).lower()))


FORMS: Mapping[str, Callable[[Draw], str]] = {
    "Latin letters": latin, "Chinese": chinese, "Chinese in Latin letters": in_sounds, "logins": login,
}  # fmt: skip
# Latin and Chinese names stand in most of these alike.
LINES = (
    "@author <V>", "@author <V> <<E>>", "@author: <V>", "Author: <V>", "Author: <V> <<E>>", "Authors: <V>, <V>", "Author(s): <V>; <V>",
    "Original author: <V>", "Main author - <V>", "Copyright (c) <Y> <V>", "Copyright (C) <Y>-<Y> <V>. All rights reserved.",
    "Copyright <Y> by <V>", "(c) <Y> <V>", "© <Y> <V> <<E>>", "Copyright © <Y>, <Y> <V> <<E>>", "Written by <V>", "Written by <V>, <T>.",
    "Originally written by <V> for the <W> service.", "Created by <V> on <T>.", "Created by <V> on <T>", "Created by: <V>", "Maintainer: <V> <<E>>",
    "Maintainers: <V>, <V> and <V>", "Signed-off-by: <V> <<E>>", "Co-authored-by: <V> <<E>>", "Reviewed-by: <V> <<E>>", "Modified by <V> on <T>",
    "Last modified by: <V>", "Contributors: <V>, <V>", "Developed by <V>", ".. codeauthor:: <V> <<E>>", ":author: <V>", r"\author <V>",
)  # fmt: skip
CHINESE_LINES = (
    "作者：<V>", "作者: <V>", "@作者 <V>", "作者：<V>，<V>", "创建人：<V>", "创建者: <V> <T>", "修改人：<V> <T>", "维护者：<V>", "负责人：<V>",
    "编写：<V>", "版权所有 (c) <Y> <V>", "开发者：<V>、<V>", "@author <V>", "Author: <V>", "Created by <V> on <T>.",
)  # fmt: skip
LOGIN_LINES = ("@author <V>", "Author: <V>", "Created by <V> on <T>.", "作者：<V>", "Written by <V>")
NOBODY = (
    "Copyright (c) <Y> <C>", "Copyright <Y>-<Y> <C>. All rights reserved.", "(c) <Y> <C>", "© <C> <Y>", "Copyright <Y> The <W> Authors",
    "Copyright <Y> <C> and contributors", "Author: the <W> team", "Author: <C>", "Authors: see AUTHORS", "@author <W>", "@author <W>-team", "@author <C>",
    "Created by the nightly <W> job on <T>", "Created by IntelliJ IDEA.", "Created by Schema<W>Generator on <T>", "Written by hand for the <W> page",
    "Written in Go by the <W> module", "Maintainer: <C> <<E>>", "Maintainers: see OWNERS", "author: Author", "author: Optional[str] = None",
    "Author: {{ author_name }}", "Author: $USER", "@author ${user}", "Author: unknown", "Signed-off-by: dependabot[bot] <<E>>", "author_id: the <W>'s key",
    "Contributors: everyone on the <W> list", "Created by calling Order.create on <T>", "Modified by Event.apply(<W>)", "Reviewed-by: <W>-bot",
    "Licensed to <C> under one or more agreements", "作者：平台组", "作者：<W>组", "作者：数据平台部", "作者：未知", "维护者：基础架构团队", "负责人：见 OWNERS 文件",
    "版权所有 © <Y> 北京蓝海科技有限公司", "版权所有 (c) <Y> 江苏云帆网络公司", "创建人：系统", "创建人：管理员", "修改人：自动生成", "编写：高级工程师", "开发者：见文档",
    "创建：方法返回新的对象", "Copyright holders of <W> Data are listed in NOTICE", "Developed by Customer Success for Payment Orders", "Updated by: Nightly Sync Job",
)  # fmt: skip
ORGANISATIONS = (
    "Blue Harbor Software GmbH", "Northwind Traders, Inc.", "Contoso Ltd.", "Preferred Networks", "Red Hat", "Hugging Face", "The Apache Software Foundation",
    "Google LLC", "Morgan Stanley", "Johnson Controls", "Data Infrastructure", "Platform Engineering", "Universität Leipzig", "Hewlett Packard Enterprise", "Ant Group",
    "Wells Fargo", "Jane Street", "Siemens AG", "Deutsche Telekom", "Tsinghua University", "Harbin Institute of Technology", "Rust Project Developers", "Baidu, Inc.",
)  # fmt: skip
SLOT = re.compile(r"<([CYTW])>")
# Before and after a line of a header; JSON has no comments.
COMMENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "python": (("# ", "\n"), ('"""<W>.\n\n', '\n"""\n'), ("#    ", "\n")), "java": (("/**\n * ", "\n */\n"), ("// ", "\n")),
    "go": (("// ", "\n"), ("/* ", " */\n")), "javascript": (("/**\n * ", "\n */\n"), ("//  ", "\n")), "yaml": (("# ", "\n"),), "env": (("# ", "\n"),),
    "properties": (("# ", "\n"), ("! ", "\n")), "xml": (("<!-- ", " -->\n"),), "shell": (("# ", "\n"),), "toml": (("# ", "\n"),),
    "markdown": (("<!-- ", " -->\n"), ("", "\n\n")),
}  # fmt: skip


def header(draw: Draw, kind: str) -> list[tuple[str, str, str]]:
    """The pieces of a header: text, then what it is (`name`, `either` or nothing) and which form of it."""
    if kind not in COMMENTS:
        return []
    found: list[tuple[str, str, str]] = []
    for names_nobody in draw.shuffled((False, True, True)):
        before, after = draw.one(COMMENTS[kind])
        found += [(_filled(before, draw), "", "")]
        found += _nobody(draw) if names_nobody else _somebody(draw)
        found += [(after, "", "")]
    return found


def _somebody(draw: Draw) -> list[tuple[str, str, str]]:
    form = draw.one(("Latin letters", "Latin letters", "Chinese", "Chinese", "Chinese in Latin letters", "logins"))
    lines = {"Chinese": CHINESE_LINES, "logins": LOGIN_LINES}.get(form, LINES)
    return _pieces(draw.one(lines), form, draw)


def _nobody(draw: Draw) -> list[tuple[str, str, str]]:
    return _pieces(draw.one(NOBODY), "", draw)


def _pieces(line: str, form: str, draw: Draw) -> list[tuple[str, str, str]]:
    pieces = []
    for piece in re.split(r"(<V>|<E>)", _filled(line, draw)):
        if piece == "<V>":
            pieces.append((FORMS[form](draw), "name", form))
        elif piece == "<E>":
            pieces.append((email(draw), "either", ""))
        else:
            pieces.append((piece, "", ""))
    return pieces


def _filled(line: str, draw: Draw) -> str:
    def made(match: re.Match[str]) -> str:
        year, month, day = draw.number(1998, 2026), draw.number(1, 12), draw.number(1, 28)
        return {
            "C": draw.one(ORGANISATIONS), "Y": str(year), "W": draw.word(),
            "T": draw.one((f"{year}-{month:02}-{day:02}", f"{month}/{day}/{year % 100:02}", f"{day}.{month}.{year}")),
        }[match[1]]  # fmt: skip

    return SLOT.sub(made, line)
