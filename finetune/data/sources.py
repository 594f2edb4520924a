"""An uploaded file as a stream of rows, skipped members and faults, by the name it came under. May be read repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from finetune.data import git_bundles, jsonl, tar_members, zip_members
from finetune.data.limits import DEFAULT, Limits
from finetune.data.members import Member
from finetune.data.rows import Row, Skipped, TextRow

ARCHIVES: dict[str, Callable[[Path, Limits], Iterator[Member]]] = {
    ".tar.gz": tar_members.read,
    ".tgz": tar_members.read,
    ".zip": zip_members.read,
}
MAGIC = {".tar.gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b", ".zip": b"PK"}
BUNDLE = ".bundle"
ACCEPTED = (".jsonl", *ARCHIVES, BUNDLE)


def suffix_of(filename: str) -> str | None:
    """Which of the accepted kinds the name claims; None for another."""
    return next((suffix for suffix in ACCEPTED if filename.lower().endswith(suffix)), None)


def kind_of(filename: str) -> str:
    return "chat" if suffix_of(filename) == ".jsonl" else "text"


def faults_of_file(source: Path, filename: str, limits: Limits = DEFAULT) -> list[str]:
    """What is wrong with the file as a whole: its name, size or first bytes."""
    suffix, size_bytes = suffix_of(filename), source.stat().st_size
    if suffix is None:
        return [f"the file name must end in one of {', '.join(ACCEPTED)}"]
    if size_bytes == 0:
        return ["the file is empty"]
    if size_bytes > limits.source_bytes:
        return [f"the file has {size_bytes} bytes; at most {limits.source_bytes} are accepted, split it"]
    if suffix == BUNDLE:
        return git_bundles.faults_of_header(source)
    with source.open("rb") as file:
        if not file.read(4).startswith(MAGIC.get(suffix, b"")):
            return [f"the file isn't a {suffix} archive, whatever its name says"]
    return []


def scratch_bytes(source: Path, filename: str) -> int:
    """About how much reading it takes of the disk."""
    return source.stat().st_size if suffix_of(filename) == BUNDLE else 0


def read(
    source: Path, filename: str, limits: Limits = DEFAULT, scratch: Path | None = None
) -> Iterator[Row | Skipped | str]:
    """Rows, skipped members and faults (strings), always in the same order.

    `scratch` is a folder for what a later reading can use again; its owner removes it.
    Raises: DatasetRefused when an archive may not be read on.
    """
    if kind_of(filename) == "text":
        yield from map(_text_row, members(source, filename, limits, scratch))
    else:
        yield from jsonl.read(source, limits)


def members(source: Path, filename: str, limits: Limits = DEFAULT, scratch: Path | None = None) -> Iterator[Member]:
    """The files of an archive or a bundle as bytes, as `read` goes through them; none of another upload."""
    suffix = suffix_of(filename) or ""
    if suffix in ARCHIVES:
        yield from ARCHIVES[suffix](source, limits)
    elif suffix == BUNDLE:
        yield from git_bundles.read(source, limits, scratch)


def _text_row(member: Member) -> TextRow | Skipped:
    if member.skipped:
        return Skipped(member.skipped)
    if b"\x00" in member.data:
        return Skipped("binary")
    try:
        text = member.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Skipped("not_utf8")
    return TextRow(member.path, text.replace("\r\n", "\n"))
