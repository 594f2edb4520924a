"""XML documents, except XSLT, which is a program."""

from __future__ import annotations

from finetune.data.rows import TextRow

MARK = "<?xml version="
HEAD_CHARACTERS = 100
XSLT = (".xsl", ".xslt")


def objection(row: TextRow) -> str | None:
    if MARK in row.text[:HEAD_CHARACTERS] and not row.path.lower().endswith(XSLT):
        return "it is an XML document"
    return None
