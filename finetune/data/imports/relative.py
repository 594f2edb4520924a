"""Paths that are relative to a file, as paths from the top of the upload."""

from __future__ import annotations


def joined(path: str, relative: str) -> str | None:
    """`relative` as the file at `path` means it, with a slash in front; None where it leads out of the upload."""
    parts = path.split("/")[:-1]
    for part in relative.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
