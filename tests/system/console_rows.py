"""Run in an appliance's environment: rows for the console's pages that have one thing each, and their removal.

`python -m tests.system.console_rows make TENANT` prints the ids and every route's name; `… remove TENANT` takes the rows away.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import django


def make(tenant_id: str) -> dict[str, object]:
    """One of each, of a kind that no process of the appliance works on."""
    from django.conf import settings
    from django.urls import URLPattern
    from django.utils import timezone

    from appliance.tenants.models import Tenant
    from appliance.urls import urlpatterns
    from tests.appliance.console import batching, operations, tuning
    from tests.appliance.conversations import keeping

    tenant = Tenant.objects.get(pk=tenant_id)
    file = tuning.upload(tenant, status="processed")
    tuning.clean(file, Path(settings.ENV.data_dir) / "visited")
    job = tuning.start(tenant, training_file=file, status="cancelled")
    adapter = tuning.finish(job)
    keeping.turn_on(tenant)
    conversation = keeping.kept(tenant)
    held = timezone.now() + timedelta(days=1)
    batch = batching.batch_of(tenant, lease_holder="a visitor", lease_expires_at=held)
    return {
        "routes": [route.name for route in urlpatterns if isinstance(route, URLPattern) and route.name],
        "ids": {
            "tenant": tenant_id, "key": str(tenant.keys.values_list("pk", flat=True)[0]), "file": file.pk, "job": job.pk,
            "adapter": str(adapter.pk), "upgrade": str(operations.upgrade("undone").pk),
            "batch": batch.pk, "conversation": conversation.pk, "erasure": str(tuning.erased(tenant).pk),
            "run": str(operations.accepted(files=True).pk),
        },
    }  # fmt: skip


def remove(tenant_id: str) -> None:
    """What `make` made, so that nothing waits for a decision that isn't there."""
    from appliance.batches.models import Batch
    from appliance.conversations.models import ConversationLog
    from appliance.operations.models import AcceptanceRun, Upgrade
    from appliance.registry.models import Adapter, ModelVersion
    from appliance.training.models import Dataset, Erasure, Evaluation, Job, StoredFile

    made = ("tiny-base", "tiny-coder")
    Upgrade.objects.filter(name__in=made).delete()
    AcceptanceRun.objects.filter(model_name__in=made).delete()
    Job.objects.filter(tenant_id=tenant_id).delete()
    Evaluation.objects.filter(adapter__tenant_id=tenant_id).delete()
    Adapter.objects.filter(tenant_id=tenant_id).delete()
    Dataset.objects.filter(file__tenant_id=tenant_id).delete()
    Batch.objects.filter(tenant_id=tenant_id).delete()
    ConversationLog.objects.filter(tenant_id=tenant_id).delete()  # the meter removes what it kept
    Erasure.objects.filter(tenant_id=tenant_id).delete()
    StoredFile.objects.filter(tenant_id=tenant_id).delete()
    ModelVersion.objects.filter(name__in=made).delete()


if __name__ == "__main__":
    django.setup()
    what, whose = sys.argv[1:]
    if what == "make":
        sys.stdout.write(json.dumps(make(whose)))
    else:
        remove(whose)
