from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.bundle.names import is_name, path_faults


@pytest.mark.parametrize("path", ["model/config.json", "model/a-b_c.d+e/model-00001-of-00002.safetensors", "_x"])
def test_plain_relative_paths_are_taken(path: str) -> None:
    assert path_faults([path]) == []


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "..", "../x", "a/../b", "a/./b", "a//b", "a/", "./a", ".hidden", "a/.hidden", "a\\b", "a\0b",
     "a b", "a\n", "C:x", "~x", "-rf", "é", "a" * 300],
)  # fmt: skip
def test_every_other_path_is_refused(path: str) -> None:
    assert len(path_faults([path])) == 1


@given(st.text())
def test_no_accepted_path_leads_out_of_its_directory(path: str) -> None:
    if not path_faults([path]):
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))


def test_names_that_differ_in_case_only_are_refused() -> None:
    assert len(path_faults(["model/a.txt", "model/A.txt"])) == 1


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("tiny", True), ("a.B_c-1", True), ("", False), ("../x", False), (".x", False), ("a/b", False), (7, False)],
)  # fmt: skip
def test_a_models_name_can_be_a_directorys(name: object, accepted: bool) -> None:
    assert is_name(name) is accepted
