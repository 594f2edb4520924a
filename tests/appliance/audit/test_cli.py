"""`coderack audit`: what it lists, and with which exit code it says that the log is whole or not."""

from __future__ import annotations

import json
from collections.abc import Callable

from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.audit.stored import head_path
from appliance.tenants.keys import mint
from ops.cli.main import app
from ops.cli.printing import Exit
from tests.appliance.training.cast import Cast

VERIFY = ["audit", "verify"]


def test_it_lists_the_newest_first_of_all_or_of_one_tenant(cast: Cast) -> None:
    key, _ = mint(cast.acme, "newest")
    told = json.loads(CliRunner().invoke(app, ["audit", "list", "--json"]).stdout)
    assert told[0]["details"] == {"id": str(key.pk), "name": "newest"}
    assert [row["seq"] for row in told] == [3, 2, 1]
    assert "newest" in CliRunner().invoke(app, ["audit", "list", "--limit", "1"]).stdout
    of_one = json.loads(CliRunner().invoke(app, ["audit", "list", "--tenant", "rivals", "--json"]).stdout)
    assert [row["tenant"] for row in of_one] == ["rivals"]


def test_it_says_that_the_log_is_whole_with_its_newest_hash(cast: Cast) -> None:
    done = CliRunner().invoke(app, VERIFY)
    newest = AuditEntry.objects.latest("seq")
    assert done.exit_code == 0, done.output
    assert newest.hash in done.stdout
    told = json.loads(CliRunner().invoke(app, [*VERIFY, "--json"]).stdout)
    assert told == {"ok": True, "head": {"seq": newest.seq, "hash": newest.hash}, "faults": []}


def test_an_empty_log_is_whole(db: None) -> None:
    assert CliRunner().invoke(app, VERIFY).exit_code == 0


def test_each_fault_is_a_line_and_the_exit_code_says_so(cast: Cast, forge: Callable[[str], None]) -> None:
    mint(cast.acme, "third")
    forge("UPDATE audit_auditentry SET actor = 'nobody' WHERE seq = 1")
    forge("DELETE FROM audit_auditentry WHERE seq = 3")
    done = CliRunner().invoke(app, VERIFY)
    assert done.exit_code == Exit.FAILED
    first, second = done.stderr.splitlines()
    assert first.startswith("entry 1 was edited")
    assert "remembers entry 3" in second
    told = CliRunner().invoke(app, [*VERIFY, "--json"])
    assert told.exit_code == Exit.FAILED
    assert [(fault["kind"], fault["seq"]) for fault in json.loads(told.stdout)["faults"]] == [
        ("edited", 1),
        ("head ahead", 3),
    ]


def test_an_entry_that_can_not_even_be_read_is_told(cast: Cast, forge: Callable[[str], None]) -> None:
    forge("UPDATE audit_auditentry SET at = 'infinity' WHERE seq = 2")
    done = CliRunner().invoke(app, VERIFY)
    assert done.exit_code == Exit.FAILED
    assert "can't be read" in done.stderr


def test_a_head_file_that_can_not_be_read_is_told(cast: Cast) -> None:
    head_path().unlink()
    head_path().mkdir()
    done = CliRunner().invoke(app, VERIFY)
    assert done.exit_code == Exit.FAILED
    assert "head.jsonl" in done.stderr
