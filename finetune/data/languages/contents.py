"""Languages of files whose names leave them open: endings that several languages share, and scripts without an ending."""

from __future__ import annotations

import re
from collections.abc import Callable

READ_CHARACTERS = 8192
FIRST_LINE_CHARACTERS = 200
C_OR_CPP = "C or C++"
SHEBANG = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S*\s+){0,4})?(?:\S*/)?([A-Za-z]+)")
# Programs of the first line of a script; a version behind the name is not a part of it.
PROGRAMS = {
    "ash": "Shell", "awk": "Awk", "bash": "Shell", "bun": "TypeScript", "csh": "Shell", "dash": "Shell",
    "deno": "TypeScript", "elixir": "Elixir", "escript": "Erlang", "expect": "Tcl", "fish": "Shell", "gawk": "Awk",
    "groovy": "Groovy", "julia": "Julia", "ksh": "Shell", "lua": "Lua", "make": "Makefile", "node": "JavaScript",
    "nodejs": "JavaScript", "ocaml": "OCaml", "perl": "Perl", "php": "PHP", "pwsh": "PowerShell", "pypy": "Python",
    "python": "Python", "rscript": "R", "ruby": "Ruby", "sed": "Sed", "sh": "Shell", "swift": "Swift", "tcl": "Tcl",
    "tclsh": "Tcl", "wish": "Tcl", "zsh": "Shell",
}  # fmt: skip
Tell = Callable[[str], str]


def by_first_line(text: str) -> str | None:
    """What `#!` at the very beginning names."""
    if not text.startswith("#!"):
        return "PHP" if text.startswith("<?php") else None
    found = SHEBANG.match(text[:FIRST_LINE_CHARACTERS])
    return PROGRAMS.get(found[1].lower()) if found else None


def _told(default: str, *marks: tuple[str, str]) -> Tell:
    """The language of the first pattern that occurs near the beginning, else the one that is by far the most common."""
    rules = [(language, re.compile(pattern, re.MULTILINE)) for language, pattern in marks]

    def tell(text: str) -> str:
        head = text[:READ_CHARACTERS]
        return next((language for language, pattern in rules if pattern.search(head)), default)

    return tell


OBJECTIVE_C = r"^[ \t]*(?:@(?:interface|implementation|protocol|property|class|import|end)\b|#[ \t]*import\b)"
CPP = (
    r"^[ \t]*(?:template[ \t]*<|namespace\b|using[ \t]+(?:namespace\b|\w+[ \t]*=)|(?:public|private|protected)[ \t]*:)"
    r"|^[ \t]*class[ \t]+\w[\w \t:<>,]*(?:\{|$)|\bstatic_cast<|\bvirtual[ \t]+\w"
    r"|\bstd::|\bconstexpr\b|\bnullptr\b|\bnoexcept\b|\boverride\b|\btypename\b"
    r"|^[ \t]*#[ \t]*include[ \t]*<(?:[a-z_]+|c(?:std|math|assert|errno)\w*)>"
)
C_ONLY = (
    r"\b_Bool\b|\b_Static_assert\b|\brestrict\b|^typedef struct\b"
    r"|^[ \t]*#[ \t]*include[ \t]*<(?:stdbool|stdatomic|tgmath)\.h>"
)
OUT_OF_C = r"^[ \t]*#[ \t]*ifdef[ \t]+__cplusplus"  # written for both: the words inside it are no sign
UNCLEAR: dict[str, Tell] = {
    ".h": _told(C_OR_CPP, ("Objective-C", OBJECTIVE_C), (C_OR_CPP, OUT_OF_C), ("C++", CPP), ("C", C_ONLY)),
    ".m": _told(
        "MATLAB",
        ("Objective-C", OBJECTIVE_C + r"|^[ \t]*#[ \t]*include\b|^[ \t]*//"),
        ("Mathematica", r"^[ \t]*\(\*|\w\[\w*_\][ \t]*:="),
    ),
    ".mm": _told("Objective-C++"),
    ".pl": _told("Perl", ("Prolog", r"^[ \t]*:-|^[a-z]\w*\([^)\n]*\)[ \t]*:-"), ("Raku", r"^use v6\b")),
    ".pm": _told("Perl", ("Raku", r"^use v6\b")),
    ".t": _told("Perl", ("Raku", r"^use v6\b")),
    ".v": _told("Verilog", ("Rocq", r"^[ \t]*(?:Theorem|Lemma|Proof|Require|Definition|Inductive|Fixpoint)\b")),
    ".fs": _told("F#", ("GLSL", r"^[ \t]*(?:#version|precision|uniform|varying)\b"), ("Forth", r"^: \S+ .*;[ \t]*$")),
    ".inc": _told(
        "C++",
        ("PHP", r"<\?php"),
        ("Assembly", r"^[ \t]*(?:;|\.(?:macro|equ|text|section)\b|%(?:define|macro)\b|\w+[ \t]+(?:equ|macro)\b)"),
        ("Pascal", r"^[ \t]*(?:\{\$|procedure\b|unit\b)"),
    ),
    ".ts": _told("TypeScript", ("XML", r"<!DOCTYPE TS>|^<TS\b|\A<\?xml")),
    ".cls": _told(
        "Apex",
        ("TeX", r"\\(?:ProvidesClass|NeedsTeXFormat|LoadClass)"),
        ("Visual Basic", r"^VERSION \d|^Attribute VB_"),
    ),
    ".pro": _told(
        "QMake", ("Prolog", r"^[ \t]*:-|^[a-z]\w*\([^)\n]*\)[ \t]*:-"), ("IDL", r"(?i)^[ \t]*(?:pro|function)[ \t]+\w+")
    ),
    ".cl": _told(
        "Common Lisp", ("OpenCL", r"\b(?:__)?kernel[ \t]+void\b|\b__global\b|^[ \t]*#(?:define|pragma|include)\b")
    ),
    ".d": _told("D", ("Makefile", r"^\S+\.o[ \t]*:")),
    ".as": _told("ActionScript"),
    ".pp": _told("Puppet", ("Pascal", r"(?i)^[ \t]*(?:unit|program|procedure|interface|uses)\b")),
    ".l": _told("Lex", ("Common Lisp", r"^[ \t]*\((?:defun|setq|let)\b")),
    ".mod": _told(
        "Modula-2",
        ("Go module", r"^module[ \t]+\S+/\S+[ \t]*$|^go[ \t]+\d"),
        ("AMPL", r"^[ \t]*(?:param|var|set|subject to)\b"),
    ),
    ".sc": _told("Scala", ("SuperCollider", r"\bSynthDef\b|\{[ \t]*\|")),
    ".rc": _told("Shell", ("Windows resources", r"^[ \t]*#include|\b(?:DIALOGEX?|STRINGTABLE|VERSIONINFO)\b")),
    ".p": _told("OpenEdge ABL", ("Pascal", r"(?i)^[ \t]*(?:program|procedure|begin)\b")),
    ".def": _told(
        "C", ("Windows definitions", r"^[ \t]*(?:LIBRARY|EXPORTS)\b"), ("Modula-2", r"^[ \t]*DEFINITION MODULE\b")
    ),
}
