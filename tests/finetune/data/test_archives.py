"""Archives: what is read, what is skipped, and every kind of member that refuses the whole upload."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import sources, tar_members, zip_members
from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits
from finetune.data.rows import Skipped, TextRow
from tests.finetune.data.archives import raw_tar_gz, tar_gz, zipped

OK = {"src/a.py": "print('a')\n"}


def refusal(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(DatasetRefused) as caught:
        list(sources.read(path, path.name, limits or Limits()))
    (fault,) = caught.value.faults
    return fault


def info(name: str, kind: bytes, **more: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in more.items():
        setattr(member, field, value)
    return member


@pytest.mark.parametrize("ending", ["a.tar.gz", "a.tgz", "a.zip"])
def test_text_becomes_rows_and_the_rest_is_skipped_with_a_reason(tmp_path: Path, ending: str) -> None:
    build = zipped if ending.endswith("zip") else tar_gz
    files = OK | {
        "./b/中.py": "# 中文\r\nx\r\n",
        "p.png": b"\x89PNG\0",
        "old.c": "中".encode("gb18030"),
        "big": b"x" * 2**20 + b"x",
    }
    found = list(sources.read(build(tmp_path / ending, files), ending))
    rows = [item for item in found if isinstance(item, TextRow)]
    assert rows == [TextRow("src/a.py", "print('a')\n"), TextRow("b/中.py", "# 中文\nx\n")]
    assert [item.reason for item in found if isinstance(item, Skipped)] == ["binary", "not_utf8", "too_large"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/etc/passwd", "its path is absolute"),
        ("\\windows", "its path is absolute"),
        ("C:\\x.py", "its path is absolute"),
        ("a/../../x.py", "leads upwards"),
        ("..\\x.py", "leads upwards"),
        ("..", "leads upwards"),
        ("a\nb.py", "control characters"),
        ("a\u202eb.py", "control characters"),
        ("d/" * 600 + "x.py", "more than 1024 bytes"),
    ],
)
@pytest.mark.parametrize("build", [tar_gz, zipped])
def test_a_name_that_leads_elsewhere_refuses_the_upload(tmp_path: Path, build: object, name: str, says: str) -> None:
    path = tmp_path / ("a.zip" if build is zipped else "a.tar.gz")
    build(path, OK | {name: "x"})  # type: ignore[operator]
    fault = refusal(path)
    assert says in fault
    assert fault.startswith("member ")
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (info("evil", tarfile.SYMTYPE, linkname="/etc/passwd"), "symbolic link"),
        (info("evil", tarfile.SYMTYPE, linkname="x" * 300), "it is a link"),
        (info("evil", tarfile.LNKTYPE, linkname="src/a.py"), "hard link"),
        (info("evil", tarfile.CHRTYPE), "character device"),
        (info("evil", tarfile.BLKTYPE), "block device"),
        (info("evil", tarfile.FIFOTYPE), "FIFO"),
        (info("evil", tarfile.GNUTYPE_SPARSE), "sparse"),
        (info("evil", b"Z"), "unknown type"),
        (info("src/a.py", tarfile.REGTYPE), "holds it twice"),
        (info("./src//a.py", tarfile.REGTYPE), "holds it twice"),
    ],
)
def test_a_hostile_tar_member_refuses_the_upload_and_is_named(
    tmp_path: Path, member: tarfile.TarInfo, says: str
) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        ok = tarfile.TarInfo("src/a.py")
        ok.size = 1
        archive.addfile(ok, io.BytesIO(b"x"))
        archive.addfile(member)
    fault = refusal(path)
    assert says in fault
    assert "evil" in fault or "src/" in fault or "LongLink" in fault


def test_a_tar_name_that_is_not_utf_8_refuses_the_upload(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz", encoding="gb18030", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("中文.py"))
    assert "isn't UTF-8" in refusal(path)


@pytest.mark.parametrize(
    "headers", [{"path": "../x"}, {"size": "-1"}, {"size": "9" * 30}, {"GNU.sparse.major": "1"}, {"linkpath": "/x"}]
)
def test_extended_headers_are_checked_like_plain_ones(tmp_path: Path, headers: dict[str, str]) -> None:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info("x.py", tarfile.REGTYPE, pax_headers=headers))
    assert refusal(path).startswith("member ")


def test_gits_global_header_and_long_names_are_understood(tmp_path: Path) -> None:
    long = "d" * 90 + "/" + "e" * 90 + "/" + "中" * 60 + ".py"
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        path = tmp_path / f"{number}.tgz"
        with tarfile.open(path, "w:gz", format=form, pax_headers={"comment": "0123"}) as archive:
            archive.addfile(info("dir", tarfile.DIRTYPE))
            archive.addfile(info(long, tarfile.REGTYPE, size=3), io.BytesIO(b"x=1"))
        assert list(sources.read(path, path.name)) == [TextRow(long, "x=1")]


def test_an_extended_header_of_a_megabyte_is_not_read(tmp_path: Path) -> None:
    header = info("././@PaxHeader", tarfile.XHDTYPE, size=2**20).tobuf(tarfile.USTAR_FORMAT)
    assert "extended header" in refusal(raw_tar_gz(tmp_path / "a.tgz", header + b"1" * 2**20))


def test_a_tar_that_is_cut_damaged_or_followed_by_data_is_refused(tmp_path: Path) -> None:
    whole = gzip.decompress(tar_gz(tmp_path / "ok.tgz", OK | {"b.py": "x" * 2000}).read_bytes())
    assert "damaged" in refusal(raw_tar_gz(tmp_path / "cut.tgz", whole[:1500]))
    broken = bytearray(whole)
    broken[1024] ^= 1
    assert "damaged" in refusal(raw_tar_gz(tmp_path / "bad.tgz", bytes(broken)))
    assert "data after its end" in refusal(raw_tar_gz(tmp_path / "more.tgz", whole + b"more"))
    packed = (tmp_path / "ok.tgz").read_bytes()
    (tmp_path / "half.tgz").write_bytes(packed[:-12])
    assert "damaged" in refusal(tmp_path / "half.tgz")


@pytest.mark.parametrize("ending", ["a.tgz", "a.zip"])
def test_counts_sizes_and_ratios_are_bounded(tmp_path: Path, ending: str) -> None:
    build = zipped if ending.endswith("zip") else tar_gz
    many = build(tmp_path / ending, {f"{number}.py": "x" for number in range(5)})
    assert "more than 4 members" in refusal(many, Limits(members=4))
    path = build(tmp_path / ending, {"a.py": b"x" * 300_000})
    assert "unpacks to more than 200000 bytes" in refusal(path, Limits(unpacked_bytes=200_000))
    assert "more than 20 times its size" in refusal(path, Limits(ratio=20, ratio_floor_bytes=100_000))
    assert list(sources.read(path, ending))


def test_a_tar_bomb_is_stopped_long_before_it_is_unpacked(tmp_path: Path) -> None:
    header = info("bomb", tarfile.REGTYPE, size=10**12).tobuf()
    assert "unpacks to more than" in refusal(raw_tar_gz(tmp_path / "a.tgz", header))
    zeros = info("zeros", tarfile.REGTYPE, size=64 * 2**20).tobuf()
    assert "100 times" in refusal(raw_tar_gz(tmp_path / "b.tgz", zeros + bytes(64 * 2**20)))
    assert "100 times" in refusal(raw_tar_gz(tmp_path / "c.tgz", bytes(64 * 2**20)))


def zip_info(name: str, mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    entry.compress_type = method
    return entry


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (zip_info("evil", 0o120777), "symbolic link"),
        (zip_info("evil", 0o020666), "device"),
        (zip_info("evil", 0o060666), "device"),
        (zip_info("evil", 0o010666), "device"),
        (zip_info("evil", method=zipfile.ZIP_BZIP2), "compression method"),
        (zip_info("evil", method=zipfile.ZIP_LZMA), "compression method"),
        (zip_info("./src/a.py"), "holds it twice"),
    ],
)
def test_a_hostile_zip_member_refuses_the_upload_and_is_named(
    tmp_path: Path, entry: zipfile.ZipInfo, says: str
) -> None:
    fault = refusal(zipped(tmp_path / "a.zip", OK, [(entry, b"x" * 100)]))
    assert says in fault
    assert "evil" in fault or "src/a.py" in fault


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.py": "x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert refusal(path) == "member 'a.py': it is encrypted; pack without a password"


@pytest.mark.parametrize(("encoding", "refused"), [("gb18030", True), ("utf-8", False)])
def test_unmarked_zip_names_are_taken_when_they_are_utf_8(tmp_path: Path, encoding: str, refused: bool) -> None:
    name = "中文.py".encode(encoding)
    path = zipped(tmp_path / "a.zip", {"x" * len(name): "y"})
    path.write_bytes(path.read_bytes().replace(b"x" * len(name), name))
    if refused:
        assert "isn't UTF-8" in refusal(path)
    else:
        assert list(sources.read(path, "a.zip")) == [TextRow("中文.py", "y")]


def test_zip_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.py": "x" * 500, "b.py": "y" * 500})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<I", data, second + 42, 0)  # the second member now starts where the first does
    path.write_bytes(data)
    assert "overlaps" in refusal(path)


def test_a_zip_with_a_name_cut_by_nul_a_wrong_checksum_or_a_lying_size_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.pyXevil": "x = 1"})
    good = path.read_bytes()
    path.write_bytes(good.replace(b"a.pyXevil", b"a.py\0evil"))
    assert "control characters" in refusal(path)
    data = bytearray(good)
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 16, 1)
    path.write_bytes(data)
    assert "damaged" in refusal(path)
    data = bytearray(good)
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 3)
    path.write_bytes(data)
    assert "damaged" in refusal(path) or "size differs" in refusal(path)


def test_a_secret_in_a_members_name_is_not_repeated(tmp_path: Path) -> None:
    fault = refusal(tar_gz(tmp_path / "a.tgz", {"../ghp_1234567890abcdefghijABCDEFGHIJ123456": "x"}))
    assert "ghp_" not in fault
    assert "REDACTED_SECRET_1" in fault


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_any_bytes_in_an_archive_are_refused_or_read_never_crash(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.zip").write_bytes(b"PK\3\4" + data)
    for reader, path in ((tar_members.read, raw_tar_gz(folder / "a.tgz", data)), (zip_members.read, folder / "a.zip")):
        with suppress(DatasetRefused):
            list(reader(path))


@settings(deadline=None)
@given(st.data())
def test_any_damage_to_an_archive_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    tar = bytearray(gzip.decompress(tar_gz(folder / "a.tgz", OK | {"b": "b" * 600}).read_bytes())[:2560])
    packed = bytearray(zipped(folder / "a.zip", OK | {"b": "b" * 600}).read_bytes())
    for content in (tar, packed):
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.zip").write_bytes(packed)
    for reader, path in (
        (tar_members.read, raw_tar_gz(folder / "a.tgz", bytes(tar))),
        (zip_members.read, folder / "a.zip"),
    ):
        try:
            members = list(reader(path))
        except DatasetRefused:
            continue
        assert all(not member.path.startswith("/") and ".." not in member.path.split("/") for member in members)
