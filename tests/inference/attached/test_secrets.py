"""Keys of attached servers on the disk."""

import os
from pathlib import Path

import pytest

from inference.attached.secrets import Secrets


def test_a_full_disk_leaves_no_half_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    secrets = Secrets(tmp_path / "attached", "one")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            secrets.write("a-key", None)
    assert list((tmp_path / "attached").iterdir()) == []
    assert secrets.key() is None
    secrets.write("a-key", None)
    assert secrets.key() == "a-key"
