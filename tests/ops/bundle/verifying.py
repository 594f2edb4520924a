"""What tests ask of a bundle: whether it is accepted, and what is wrong with it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from ops.bundle.errors import BundleRefused
from ops.bundle.verify import Bundle, verify
from tests.ops.bundle.conftest import NOW


def check(bundle: Path, root: bytes, now: datetime = NOW) -> Bundle:
    return verify(bundle, root, lambda line: None, now)


def faults(bundle: Path, root: bytes, now: datetime = NOW) -> tuple[str, ...]:
    with pytest.raises(BundleRefused) as refused:
        check(bundle, root, now)
    assert refused.value.faults
    assert all("\n" not in fault for fault in refused.value.faults)
    return refused.value.faults


def files_of(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file())
