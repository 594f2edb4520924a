"""`coderack demo` against the running appliance."""

from __future__ import annotations

import json

import pytest

from tests.system.appliance import Appliance

pytestmark = [pytest.mark.appliance, pytest.mark.engine]


def test_the_demo_passes_twice_and_its_evidence_is_in_the_ledger(appliance: Appliance) -> None:
    appliance.wait_ready()
    for _ in range(2):
        walked = appliance.cli("demo", timeout_s=120)
        assert walked.returncode == 0, walked.stdout + walked.stderr
        assert "PASS" in walked.stdout
    report = json.loads((appliance.data_dir / "demo" / "report.json").read_text())
    requests = [step["evidence"]["request"] for step in report["steps"] if "request" in step["evidence"]]
    assert len(requests) == 2
    for request_id in requests:
        assert appliance.sql(
            "SELECT 1 FROM ledger_ledgerentry WHERE request_id = %s AND tenant_id = 'demo-walk'", request_id
        )
    assert appliance.sql("SELECT 1 FROM tenants_tenant WHERE id = 'demo-walk'") == []
