"""Licence files rule the files below them, whatever order, encoding or number they come in."""

from __future__ import annotations

import pytest

from finetune.data.licences.tree import LicenceTree, which
from finetune.data.limits import MIB
from finetune.data.members import Member
from tests.finetune.data.licences import texts


def tree(files: dict[str, str | bytes], most_bytes: int = MIB) -> LicenceTree:
    members = (Member(path, data if isinstance(data, bytes) else data.encode()) for path, data in files.items())
    return LicenceTree.of(members, most_bytes)


def ruling(found: LicenceTree, directory: str) -> tuple[str, str] | None:
    ruled = found.ruling(directory)
    return (ruled[0], ruled[1].name) if ruled else None


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("LICENSE", ""),
        ("a/licence.md", ""),
        ("UNLICENSE", ""),
        ("COPYING.txt", ""),
        ("COPYING.LESSER", "lesser"),
        ("LICENSE-MIT", "mit"),
        ("LICENSE-APACHE.txt", "apache"),
        ("COPYING3", "3"),
        ("LICENSES/MIT.txt", None),
        ("LICENSES/LICENSE.txt", None),
        ("LICENSE-THIRD-PARTY", None),
        ("license.py", None),
        ("licensing.md", None),
        ("src/a.py", None),
    ],
)
def test_a_licence_file_is_known_by_its_name(path: str, told: str | None) -> None:
    assert which(path) == told


def test_the_nearest_licence_file_rules() -> None:
    found = tree({"z.py": "", "a/lib/x.c": "", "a/lib/LICENSE": texts.ZLIB, "COPYING": texts.GPL_2_ONLY, "a/y.py": ""})
    assert found.of_upload is not None
    assert found.of_upload.name == "GPL-2.0-only"
    assert ruling(found, "a/lib/deep/er") == ("a/lib", "Zlib")
    assert ruling(found, "a/library") == ruling(found, "") == ("", "GPL-2.0-only")


def test_an_upload_packed_in_one_directory_has_its_licence_there() -> None:
    found = tree({"pay-1.2/LICENSE": texts.MIT, "pay-1.2/src/a.py": "", "pay-1.2/b/c.py": ""})
    assert found.top == "pay-1.2"
    assert found.of_upload is not None
    assert found.of_upload.name == "MIT"
    assert tree({"a/LICENSE": texts.MIT, "ab/c.py": ""}).of_upload is None


def test_files_beside_each_other_are_a_choice_or_add_up() -> None:
    assert ruling(tree({"LICENSE-MIT": texts.MIT, "LICENSE-APACHE": texts.APACHE}), "") == ("", "Apache-2.0 OR MIT")
    lesser = texts.GPL_2_ONLY.replace("General", "Lesser General").replace("version 2", "version 3")
    assert ruling(tree({"COPYING": texts.GPL_2_ONLY, "COPYING.LESSER": lesser}), "") == ("", "LGPL-3.0-only")
    assert ruling(tree({"LICENSE": texts.MIT, "COPYING": texts.ZLIB}), "") == ("", "MIT AND Zlib")
    either = {"LICENSE": "see LICENSE.MIT or LICENSE.ZLIB", "LICENSE.MIT": texts.MIT, "LICENSE.ZLIB": texts.ZLIB}
    assert ruling(tree(dict(either)), "") == ("", "MIT OR Zlib")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "gb18030"])
def test_a_licence_file_in_another_encoding_is_read(encoding: str) -> None:
    text = ("版权 " if encoding == "gb18030" else "Copyright © Ünal\n") + texts.MIT
    assert ruling(tree({"LICENSE": text.encode(encoding)}), "") == ("", "MIT")


def test_a_licence_file_of_nonsense_rules_nothing() -> None:
    found = tree({"LICENSE": b"\x00\xff" * 500_000, "a/LICENSE": "", "b/LICENSE": "see the contract"})
    assert found.ruling("b") is None
    assert found.of_upload is None


def test_too_many_licence_files_are_counted_and_not_held() -> None:
    found = tree({f"d{number}/LICENSE": texts.MIT for number in range(100)}, most_bytes=3000)
    assert 80 < found.num_unread < 100
    assert found.ruling("d0") is not None
    assert found.ruling("d99") is None
