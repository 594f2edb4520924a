"""The lists of what a backup holds: every entry that the sources write into the data directory is in one of them."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.env import REPO
from ops.backup.contents import CACHE, KEPT, MADE_AGAIN, is_left_out, unknown

# How the sources name what lies in the data directory: `data_dir / "name"`, also with brackets around, or a constant.
NAMED = re.compile(r"(?<!cluster\.)data_dir\)? / \"([^\"/.][^\"/]*)\"|\.data_dir\)? / ([A-Z]+)\b")
CONSTANT = re.compile(r"^([A-Z]+) = \"([^\"]+)\"$", re.MULTILINE)


def written_by_sources() -> set[str]:
    texts = [path.read_text() for top in ("appliance", "inference", "ops") for path in (REPO / top).rglob("*.py")]
    constants = dict(pair for text in texts for pair in CONSTANT.findall(text))
    names: set[str] = set()
    for text in texts:
        own = constants | dict(CONSTANT.findall(text))  # a constant may be defined elsewhere
        names |= {literal or own.get(constant, constant).partition("/")[0] for literal, constant in NAMED.findall(text)}
    return names


def test_every_entry_that_the_sources_name_is_in_one_list() -> None:
    names = written_by_sources()
    assert {"files", "jobs", "trust", "journal", "pgdata"} <= names, "the search finds what is there"
    assert not names - KEPT.keys() - MADE_AGAIN.keys()


def test_no_entry_is_in_two_lists() -> None:
    assert not (KEPT.keys() & MADE_AGAIN.keys()) | (KEPT.keys() & CACHE) | (MADE_AGAIN.keys() & CACHE)


def test_operations_describes_what_is_kept() -> None:
    text = (REPO / "docs" / "backup.md").read_text()
    assert not [name for name in (*KEPT, *MADE_AGAIN) if f"`{name}" not in text]


def test_what_is_in_no_list_is_named(tmp_path: Path) -> None:
    for name in ("jobs", "logs", "models", "notes", ".half", "celery-beat.db"):
        (tmp_path / name).mkdir()
    assert list(unknown(tmp_path, tmp_path)) == ["notes"]
    assert list(unknown(tmp_path, tmp_path / "cache")) == ["models", "notes"]


def test_scratch_is_left_out() -> None:
    names = (
        "files/acme/.upload-1",
        "jobs/ftjob-1/attempts/1/home",
        "jobs/ftjob-1/split",
        "jobs/ftjob-1/attempts/1/adapter",
    )
    assert [name for name in names if is_left_out(Path(name))] == [*names[:3]]


def test_tenants_called_like_scratch_are_not_left_out() -> None:
    assert not [name for name in ("files/home", "datasets/split", "files/split/ab12") if is_left_out(Path(name))]
