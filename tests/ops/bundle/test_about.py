from __future__ import annotations

import json
from typing import Any

import pytest

from ops.bundle.about import About, Requirements, dump, parse

ABOUT = About(
    name="tiny", digest="a" * 64, preset="", max_model_len=4096, fim=False, licence="none", origin="a test",
    created_at="2026-03-01T12:00:00+00:00", requirements=Requirements(1024, "cpu", "0.32.0+cpu"),
)  # fmt: skip


def test_it_reads_what_it_wrote() -> None:
    assert parse(dump(ABOUT)) == ABOUT
    assert (ABOUT.line, ABOUT.directory_name) == ("model/tiny", "tiny-aaaaaaaaaaaa")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"kind": "program"}, {"name": "../x"}, {"name": None}, {"digest": "A" * 64}, {"digest": 7},
        {"max_model_len": 0}, {"max_model_len": True}, {"fim": 1}, {"licence": "\x1b[2J"}, {"origin": 3}, {"created_at": None},
        {"preset": "a/b"}, {"requirements": {}}, {"requirements": {"free_disk_bytes": -1}}, {"requirements": None}, {"more": 1},
        {"requirements": {"free_disk_bytes": 1, "engine_flavour": 5}},
    ],
)  # fmt: skip
def test_what_it_does_not_understand_it_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(json.dumps(json.loads(dump(ABOUT)) | change).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000])
def test_other_content_is_an_error_and_not_a_crash(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(content)
