"""A zip's directory is measured before anything is built from it; member names in messages are clean."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from finetune.data import tar_members, zip_members
from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits
from tests.finetune.data.archives import raw_tar_gz, zipped

TOKEN = "ghp_1234567890abcdefghijABCDEFGHIJ123456"
FEW = Limits(members=10)


def refusal(path: Path, limits: Limits = FEW) -> str:
    read = zip_members.read if path.suffix == ".zip" else tar_members.read
    with pytest.raises(DatasetRefused) as caught:
        list(read(path, limits))
    return caught.value.faults[0]


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a ZipInfo was built")

    monkeypatch.setattr(zipfile, "ZipInfo", refuse)


def bombed(path: Path, entries: int, claimed: int, zip64: bool = False, comment: bytes = b"") -> Path:
    directory = (b"PK\x01\x02" + b"\0" * 42) * entries
    tail = b""
    if zip64:
        tail = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, claimed, claimed, len(directory), 0)
        tail += struct.pack("<4sLQL", b"PK\x06\x07", 0, len(directory), 1)
    size, count = (0xFFFFFFFF, 0xFFFF) if zip64 else (len(directory), claimed)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, 0, len(comment))
    path.write_bytes(directory + tail + end + comment)
    return path


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("comment", [b"", b"a comment"])
@pytest.mark.parametrize(("entries", "claimed"), [(11, 11), (11, 1), (2000, 1), (0, 11)])
def test_too_large_a_directory_is_refused_unread(
    tmp_path: Path, entries: int, claimed: int, zip64: bool, comment: bytes
) -> None:
    assert "more than 10 members" in refusal(bombed(tmp_path / "a.zip", entries, claimed, zip64, comment))


def test_a_zip_with_a_comment_and_as_many_members_as_allowed_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"{number}.py": "x" for number in range(10)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"hello"
    assert len(list(zip_members.read(path, FEW))) == 10


def test_a_name_in_a_message_about_damage_is_clean(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{TOKEN}.py", "x = 12345\n")
    data = path.read_bytes()
    for old, new in ((b"x = 12345", b"x = 12346"), (TOKEN.encode(), TOKEN[:-1].encode() + b"7")):
        path.write_bytes(data.replace(old, new, 1))
        fault = refusal(path)
        assert "the archive is damaged at member 'REDACTED_" in fault
        assert TOKEN[:20] not in fault


def header(name: str, kind: bytes, size: int) -> bytes:
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:108], block[124:136], block[156:157] = b"0000644\0", f"{size:011o}\0".encode(), kind
    block[257:265], block[148:156] = b"ustar\x0000", b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def test_a_name_in_a_message_about_a_damaged_tar_is_clean(tmp_path: Path) -> None:
    fault = refusal(raw_tar_gz(tmp_path / "a.tgz", header(f"{TOKEN}.py", b"0", 0) + b"x" * 512))
    assert "after member 'REDACTED_" in fault
    assert TOKEN[:20] not in fault


def test_a_secret_across_the_cut_of_a_long_name_is_clean(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"/" + "d/" * 90 + f"{TOKEN}.py": "x"})
    assert TOKEN[:12] not in refusal(path)


def test_a_size_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    value = b"size=" + b"1" * 5000 + b"\n"
    record = str(len(value) + 5).encode() + b" " + value
    padded = record + b"\0" * (-len(record) % 512)
    data = header("pax", b"x", len(record)) + padded + header("a.py", b"0", 0)
    assert "at most 20 digits" in refusal(raw_tar_gz(tmp_path / "a.tgz", data))
