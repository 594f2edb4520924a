"""A file's head: the comments before its code, where licences stand. Strings in the code are not read, nor what comes later."""

from __future__ import annotations

import re

HEAD_CHARACTERS = 6000
MOST_LINES = 150
MOST_CODE_LINES = 12  # a package clause, imports or a guard may stand before the comment
TOLD = (
    "licen",
    "copyright",
    "redistribut",
    "permission",
    "warrant",
    "public domain",
    "confidential",
    "版权",
    "许可",
    "保密",
)
BLOCKS = {
    "/*": "*/", '"""': '"""', "'''": "'''", 'r"""': '"""', "<!--": "-->", "<%--": "--%>", "{-": "-}", "{#": "#}", "(*": "*)",
    "--[[": "]]", "#|": "|#", "<#": "#>", "=begin": "=end", "%{": "%}",
}  # fmt: skip
OPENING = re.compile("|".join(re.escape(mark) for mark in sorted(BLOCKS, key=len, reverse=True)))
LINE = re.compile(r"#|//|--|;|%|'|\"|!|\*|\.\\\"|\\\"|dnl\b|rem\b|@rem\b|::|c\s", re.IGNORECASE)


def comments_of(text: str) -> str:
    """The comments of a file's first lines, line by line with their marks; empty where none speaks of a licence."""
    head = text[:HEAD_CHARACTERS]
    small = head.lower()
    if not any(word in small for word in TOLD):  # most files end here
        return ""
    found: list[str] = []
    closing, num_code = "", 0
    for line in head.splitlines()[:MOST_LINES]:
        bare = line.strip()
        if closing:
            found.append(line)
            closing = "" if closing in bare else closing
        elif opened := OPENING.match(bare):
            found.append(line)
            end = BLOCKS[opened[0]]
            closing = "" if end in bare[opened.end() :] else end
        elif LINE.match(bare):
            found.append(line)
        elif bare:
            num_code += 1
            if num_code > MOST_CODE_LINES:
                break
    return "\n".join(found)
