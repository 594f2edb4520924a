""""""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.bundle.keys import Keys
from ops.bundle.layout import TIMESTAMP
from ops.bundle.verify import describe
from ops.slots.files import sha256_of
from tests.ops.bundle.verifying import check, faults, files_of


def test_a_whole_bundle_is_accepted(bundle: Path, keys: Keys) -> None:
    facts = describe(check(bundle, keys.root))
    assert facts["name"] == "tiny"
    assert facts["versions"] == {"targets": 1, "snapshot": 1, "timestamp": 1}
    assert facts["expires"] == "2026-05-30T12:00:00+00:00"


def test_verifying_changes_nothing(bundle: Path, keys: Keys) -> None:
    before = {path: (sha256_of(path), path.stat().st_mtime_ns) for path in files_of(bundle)}
    check(bundle, keys.root)
    assert {path: (sha256_of(path), path.stat().st_mtime_ns) for path in files_of(bundle)} == before


@settings(deadline=None)  # files are read, and the disk has other work
@given(data=st.data())
def test_no_byte_of_any_file_can_be_changed(made: Path, data: st.DataObject) -> None:
    root = (made / "keys/root.json").read_bytes()
    path = data.draw(st.sampled_from(files_of(made / "bundle")))
    content = path.read_bytes()
    offset = data.draw(st.integers(0, len(content) - 1))
    flipped = content[offset] ^ data.draw(st.integers(1, 255))
    try:
        path.write_bytes(content[:offset] + bytes([flipped]) + content[offset + 1 :])
        faults(made / "bundle", root)
    finally:
        path.write_bytes(content)
    check(made / "bundle", root)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
@pytest.mark.parametrize("name", [TIMESTAMP, "metadata/1.root.json"])
def test_not_even_the_case_of_a_digit_of_a_signature_can_be_changed(
    bundle: Path, keys: Keys, name: str, mask: int
) -> None:
    content = (bundle / name).read_bytes()
    for offset in range(len(content)):
        (bundle / name).write_bytes(content[:offset] + bytes([content[offset] ^ mask]) + content[offset + 1 :])
        faults(bundle, keys.root)


def test_no_file_can_be_cut_lengthened_emptied_or_removed(bundle: Path, keys: Keys) -> None:
    for path in files_of(bundle):
        content = path.read_bytes()
        for other in (content[:-1], content[: len(content) // 2], b"", content + b"\n", b" " + content, content * 2):
            path.write_bytes(other)
            faults(bundle, keys.root)
        path.unlink()
        faults(bundle, keys.root)
        path.write_bytes(content)
    check(bundle, keys.root)


@pytest.mark.parametrize(
    "name",
    ["extra", "metadata/extra.json", "metadata/2.targets.json", "targets/x", "targets/model/x.txt", "targets/model/.x"],
)
def test_no_file_can_be_added(bundle: Path, keys: Keys, name: str) -> None:
    (bundle / name).write_text("{}")
    assert faults(bundle, keys.root) == (f"{name!r}: not part of the bundle",)


def test_no_directory_can_be_added(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/empty").mkdir()
    assert faults(bundle, keys.root) == ("'targets/empty': not part of the bundle",)


@pytest.mark.parametrize(
    "name", ["metadata/timestamp.json", "targets/bundle.json", "targets/model/config.json", "targets/model"]
)
def test_a_link_is_refused_wherever_it_leads(bundle: Path, keys: Keys, tmp_path: Path, name: str) -> None:
    (bundle / name).rename(tmp_path / "outside")
    (bundle / name).symlink_to(tmp_path / "outside")
    assert faults(bundle, keys.root) == (f"{name!r}: neither a plain file nor a directory",)


def test_a_pipe_is_refused_and_not_read(bundle: Path, keys: Keys) -> None:
    (bundle / TIMESTAMP).unlink()
    os.mkfifo(bundle / TIMESTAMP)
    assert "neither a plain file" in faults(bundle, keys.root)[0]


def test_a_tree_of_any_depth_is_a_refusal_and_not_a_crash(bundle: Path, keys: Keys) -> None:
    deep = [f"{bundle}{'/d' * depth}" for depth in range(1, 1501)]
    for path in deep:
        os.mkdir(path)
    try:
        assert "not part of the bundle" in faults(bundle, keys.root)[0]
    finally:
        for path in reversed(deep):  # shutil.rmtree goes down by recursion
            os.rmdir(path)


def test_metadata_without_end_is_not_read_to_its_end(bundle: Path, keys: Keys) -> None:
    os.truncate(bundle / TIMESTAMP, 1 << 40)  # sparse: it takes no room
    assert faults(bundle, keys.root) == (f"{TIMESTAMP}: too large",)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"signed":' * 50_000, b"\xff", b"null", b"[]", b'{"signed":{}}'])
def test_metadata_of_any_content_is_a_refusal_and_not_a_crash(bundle: Path, keys: Keys, content: bytes) -> None:
    for name in (TIMESTAMP, "metadata/1.root.json"):
        kept = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content)
        assert name in faults(bundle, keys.root)[0]
        (bundle / name).write_bytes(kept)


def test_a_place_without_a_bundle_is_said_to_be_one(tmp_path: Path, keys: Keys) -> None:
    assert "no such directory" in faults(tmp_path / "nowhere", keys.root)[0]
    (tmp_path / "empty").mkdir()
    assert faults(tmp_path / "empty", keys.root) == ("metadata/1.root.json: missing",)
