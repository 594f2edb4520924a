"""Builds archives for the tests, the hostile ones included."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

CODE = (
    '"""A module about {name}."""\n\n\ndef {name}(value: int) -> int:\n'
    '    """Return the value, moved by {name}."""\n    return value + {n}\n'
)


def code(name: str, number: int = 1) -> str:
    """A small Python module unlike those of other names."""
    unlike = "".join(
        f"\n\ndef {name}_{word}_{number}():\n    print('{name} says {word}')\n" for word in ("one", "two", "six")
    )
    return CODE.format(name=name, n=number) + unlike


def tar_gz(path: Path, files: dict[str, str | bytes], extra: list[tarfile.TarInfo] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in extra or []:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    return path


def raw_tar_gz(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def zipped(path: Path, files: dict[str, str | bytes], extra: list[tuple[zipfile.ZipInfo, bytes]] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info, data in extra or []:
            archive.writestr(info, data)
    return path
