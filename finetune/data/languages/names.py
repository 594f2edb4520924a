"""Languages by names of files: Pygments' table, with the names that people use and the endings that it lacks."""

from __future__ import annotations

from functools import cache

from pygments.lexers import get_all_lexers

# What Pygments calls it -> what it is called here.
CALLED = {
    "aspx-cs": "ASP.NET", "aspx-vb": "ASP.NET", "Bash": "Shell", "Batchfile": "Batch", "Bdd": "Gherkin",
    "COBOLFree": "COBOL", "Delphi": "Pascal", "Docker": "Dockerfile", "EmacsLisp": "Emacs Lisp",
    "FortranFixed": "Fortran", "GAS": "Assembly", "Gettext Catalog": "Gettext", "Groff": "roff",
    "HTML+Handlebars": "Handlebars", "HTML+Twig": "Twig", "Java Server Page": "JSP", "JSX": "JavaScript",
    "LessCss": "Less", "Matlab": "MATLAB", "NASM": "Assembly", "Nimrod": "Nim", "Perl6": "Raku", "S": "R",
    "SQL+Jinja": "SQL", "systemverilog": "SystemVerilog", "TASM": "Assembly", "Text only": "Text",
    "Transact-SQL": "SQL", "TSX": "TypeScript", "VB.net": "Visual Basic", "verilog": "Verilog", "vhdl": "VHDL",
    "VimL": "Vim script",
}  # fmt: skip
# What Pygments has several languages for, or none.
ENDINGS = {
    ".astro": "Astro", ".asm": "Assembly", ".bas": "Visual Basic", ".bazel": "Starlark", ".blade.php": "Blade",
    ".bzl": "Starlark", ".cj": "Cangjie", ".cob": "COBOL", ".conf": "INI", ".cshtml": "Razor", ".csproj": "XML",
    ".csv": "CSV", ".cts": "TypeScript", ".cypher": "Cypher", ".dockerfile": "Dockerfile", ".ejs": "EJS", ".env": "INI",
    ".erb": "ERB", ".ets": "ArkTS", ".f": "Fortran", ".f03": "Fortran", ".f90": "Fortran", ".f95": "Fortran",
    ".feature": "Gherkin", ".for": "Fortran", ".ftl": "FreeMarker", ".gd": "GDScript", ".glsl": "GLSL", ".hh": "C++",
    ".ipynb": "Jupyter", ".j2": "Jinja", ".jinja": "Jinja", ".jsonc": "JSON", ".jsonl": "JSON", ".lean": "Lean",
    ".log": "Text", ".metal": "Metal", ".mips": "Assembly", ".mts": "TypeScript", ".mustache": "Mustache",
    ".nvue": "Vue", ".pde": "Processing", ".plist": "XML", ".prisma": "Prisma", ".r": "R", ".razor": "Razor",
    ".s": "Assembly", ".sas": "SAS", ".star": "Starlark", ".styl": "Stylus", ".svelte": "Svelte", ".tla": "TLA+",
    ".tsv": "CSV", ".uts": "uts", ".vbs": "VBScript", ".wxml": "WXML", ".wxs": "JavaScript", ".wxss": "WXSS",
    ".xsl": "XSLT", ".xslt": "XSLT", ".y": "Yacc", ".yy": "Yacc",
}  # fmt: skip
NAMES = {
    "authors": "Text", "build": "Starlark", "build.bazel": "Starlark", "changelog": "Text", "changes": "Text",
    "cmakelists.txt": "CMake", "codeowners": "Text", "containerfile": "Dockerfile", "contributors": "Text",
    "copying": "Text", "dockerfile": "Dockerfile", "go.mod": "Go module", "gnumakefile": "Makefile",
    "jenkinsfile": "Groovy", "license": "Text", "licence": "Text", "makefile": "Makefile", "news": "Text",
    "notice": "Text", "readme": "Text", "todo": "Text", "workspace": "Starlark", ".clang-format": "YAML",
    ".dockerignore": "Text", ".env": "INI", ".gitattributes": "Text", ".gitignore": "Text", ".gitmodules": "INI",
    ".npmrc": "INI", ".babelrc": "JSON", ".eslintrc": "JSON", ".prettierrc": "JSON",
}  # fmt: skip
FAMILIES = {"makefile": "Makefile", "dockerfile": "Dockerfile", "containerfile": "Dockerfile", "jenkinsfile": "Groovy"}
# Endings that say what a file is made for, not in what it is written.
FRAMES = frozenset((".in", ".tmpl", ".tpl", ".template", ".example", ".sample", ".dist", ".orig", ".bak"))


def ending_of(path: str) -> str:
    """The last ending of a path with its full stop, as it is written; empty where there is none."""
    name = path[path.rfind("/") + 1 :]
    place = name.rfind(".")
    return name[place:] if place > 0 else ""


def by_name(path: str) -> str | None:
    """The language that a file's name tells."""
    name = path[path.rfind("/") + 1 :].lower()
    names, endings = _table()
    for _ in range(2):
        if found := names.get(name):
            return found
        first = name.find(".", max(0, len(name) - LONGEST))
        while first >= 0:
            if found := endings.get(name[first:]):
                return found
            first = name.find(".", first + 1)
        if found := FAMILIES.get(name.partition(".")[0]):  # Makefile.am, Dockerfile.dev
            return found
        framed = ending_of(name)
        if framed not in FRAMES:
            return None
        name = name.removesuffix(framed)
    return None


LONGEST = 16


@cache
def _table() -> tuple[dict[str, str], dict[str, str]]:
    """Whole names and endings, in small letters."""
    names, endings = dict[str, str](), dict[str, str]()
    for language, _, patterns, _ in get_all_lexers(plugins=False):
        called = CALLED.get(language, language)
        for pattern in map(str.lower, patterns):
            if not any(sign in pattern for sign in "*?["):
                names.setdefault(pattern, called)
            elif pattern.startswith("*.") and not any(sign in pattern[2:] for sign in "*?["):
                endings.setdefault(pattern[1:], called)
    return names | NAMES, endings | ENDINGS
