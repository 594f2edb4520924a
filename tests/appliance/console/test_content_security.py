"""No page needs inline script or style, and what people type stays text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.utils import timezone

from appliance.fleet.models import Deployment, Device, Replica
from appliance.tenants.keys import mint
from appliance.tenants.models import Tenant
from appliance.training.events import add_event
from appliance.training.models import Evaluation
from tests.appliance.console import operations, tuning
from tests.appliance.console.cast import Cast, book

HOSTILE = '<script>alert(1)</script>" onload="x'
PAGES = (
    "/",
    "/serving/",
    "/models/",
    "/tenants/",
    "/tenants/new/",
    "/tenants/acme/",
    "/tenants/acme/keys/",
    "/usage/",
    "/nope/",
    "/fine-tuning/",
    "/fine-tuning/{job}/",
    "/fine-tuning/{job}/?part=live",
    "/fine-tuning/{failed}/",
    "/fine-tuning/{job}/cancel/",
    "/data/",
    "/batches/",
    "/data/{file}/",
    "/data/{refused}/",
    "/data/{file}/delete/",
    "/approvals/",
    "/approvals/{adapter}/approve/",
    "/approvals/{adapter}/reject/",
    "/models/adapters/{adapter}/",
    "/models/adapters/{adapter}/withdraw/",
    "/playground/?tenant=acme",
    "/guide/?tenant=acme",
    "/upgrades/",
    "/upgrades/{upgrade}/",
    "/acceptance/",
    "/acceptance/{run}/",
)
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|<[^>]+\s(style|on[a-z]+)=[\"']|javascript:", re.IGNORECASE)


@pytest.fixture
def hostile(cast: Cast, deployment: Deployment) -> Cast:
    Tenant.objects.filter(id="acme").update(name=HOSTILE)
    mint(cast.acme, HOSTILE)
    Replica.objects.create(deployment=deployment, index=0, state="failed", reason=HOSTILE)
    Device.objects.create(
        id="cpu:0", kind="cpu", name=HOSTILE, memory_bytes=1, healthy=False, reason=HOSTILE, seen_at=timezone.now()
    )
    book("acme", model=HOSTILE)
    deployment.model.name = HOSTILE
    deployment.model.save()
    return cast


@pytest.fixture
def hostile_ids(hostile: Cast, tmp_path: Path) -> dict[str, object]:
    """Fine-tuning's rows with hostile text wherever a tenant or a tool may put some."""
    acme = Tenant.objects.get(id="acme")
    file, refused = tuning.upload(acme, HOSTILE), tuning.upload(acme, HOSTILE, status="error", status_details=HOSTILE)
    tuning.clean(file, tmp_path, {"kind": HOSTILE, HOSTILE: [{HOSTILE: HOSTILE}], "x": {HOSTILE: HOSTILE}, "y": [HOSTILE],
                                  "limits": HOSTILE})  # fmt: skip
    more = {
        "training_file": file,
        "suffix": HOSTILE,
        "metadata": {HOSTILE: HOSTILE},
        "hyperparameters": {HOSTILE: HOSTILE},
    }
    job, failed = (
        tuning.start(acme, status=status, **more, error={"code": HOSTILE, "message": HOSTILE, "param": HOSTILE})
        for status in ("running", "failed")
    )
    add_event(job.pk, HOSTILE, "error", {"step": HOSTILE, "train_loss": HOSTILE})
    adapter = tuning.finish(tuning.start(acme), name=HOSTILE)
    checks = [
        {
            "name": HOSTILE,
            "verdict": HOSTILE,
            "reason": HOSTILE,
            "measured": {HOSTILE: HOSTILE, "x": {HOSTILE: [HOSTILE]}},
        }
    ]
    Evaluation.objects.update(checks=checks)
    Deployment.objects.update(name=HOSTILE)
    upgrade = operations.upgrade(
        "failed", name=HOSTILE, reason=HOSTILE, source=HOSTILE, created_by=HOSTILE, strategy="x"
    )
    upgrade.steps.update(name=HOSTILE[:32], reason=HOSTILE, detail={HOSTILE: [HOSTILE]})
    run = operations.accepted("not_met", model_name=HOSTILE, reasons=[HOSTILE], created_by=HOSTILE)
    return {
        "upgrade": upgrade.pk,
        "run": run.pk,
        "job": job.pk,
        "failed": failed.pk,
        "file": file.pk,
        "refused": refused.pk,
        "adapter": adapter.pk,
    }


@pytest.mark.parametrize("address", PAGES)
def test_it_needs_nothing_inline_and_escapes_everything(
    hostile: Cast, hostile_ids: dict[str, object], address: str
) -> None:
    response = hostile.client("operator").get(address.format(**hostile_ids))
    assert response.status_code == (404 if address == "/nope/" else 200)
    page = response.content.decode()
    assert not INLINE.search(page), INLINE.search(page)
    assert "<script>alert" not in page
    policy = response["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"
    assert "no-store" in response["Cache-Control"]


def test_it_loosens_the_policy_for_the_record_editor_only(cast: Cast) -> None:
    policy = cast.client("operator").get("/admin/")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval';" in policy
    assert "script-src 'self' 'unsafe-inline'" not in policy


@pytest.mark.parametrize(
    "model", ["tenants/plan", "tenants/tenant", "tenants/user", "tenants/membership", "tenants/apikey", "fleet/deployment",
              "registry/modelversion", "registry/engineslot", "ledger/ledgerentry"],
)  # fmt: skip
def test_it_opens_each_list_of_the_record_editor(hostile: Cast, model: str) -> None:
    page = hostile.client("operator").get(f"/admin/{model}/")
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()


def test_it_never_shows_a_keys_digest(cast: Cast) -> None:
    key, _ = mint(cast.acme, "first")
    assert key.digest not in cast.client("operator").get(f"/admin/tenants/apikey/{key.pk}/change/").content.decode()
