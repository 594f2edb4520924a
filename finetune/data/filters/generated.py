"""Files that no person wrote or that belong to others: generated code, lock files, installed packages, version control."""

from __future__ import annotations

import re

from finetune.data.rows import TextRow

# Generators say so at the top (Go's convention, Facebook's @generated, protoc, Django and others).
MARK = re.compile(
    r"do not edit|@generated|auto-?generated|generated (?:by|from|with|using|automatically)|自动生成", re.IGNORECASE
)
HEAD_CHARACTERS = 600
DIRECTORIES = frozenset(
    (".git", ".svn", ".hg", "node_modules", "bower_components", "site-packages", "__pycache__", ".venv", ".tox")
)
NAMES = frozenset(
    (
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "poetry.lock",
        "uv.lock",
        "Pipfile.lock",
        "Cargo.lock",
        "composer.lock",
        "Gemfile.lock",
        "go.sum",
    )
)
ENDINGS = (
    ".min.js",
    ".min.css",
    ".map",
    "_pb2.py",
    "_pb2_grpc.py",
    ".pb.go",
    ".pb.h",
    ".pb.cc",
    ".g.dart",
    ".designer.cs",
)
COMMENT = re.compile(r"^\s*(?:#|//|/\*|\*|--|;|%|<!--|\"\"\"|''')")


def objection(row: TextRow) -> str | None:
    *directories, name = row.path.split("/")
    if DIRECTORIES.intersection(directories):
        return "it belongs to version control or installed packages"
    if name in NAMES or name.lower().endswith(ENDINGS):
        return "its name is that of a generated file"
    head = row.text[:HEAD_CHARACTERS].splitlines()
    if any(COMMENT.match(line) and MARK.search(line) for line in head):
        return "its first lines say that it is generated"
    return None
