"""The callers as rows, and a served model that can be fine-tuned."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from django.conf import settings

from appliance.fleet.models import Deployment
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.keys import mint
from appliance.tenants.models import Plan, Tenant
from tests.appliance.api.callers import MODEL, Caller


@pytest.fixture
def base(db: None) -> ModelVersion:
    model = ModelVersion.objects.create(
        name=MODEL, preset="smollm2-135m-instruct", path="/models/tiny", digest="ab" * 32, max_model_len=8192
    )
    slot = EngineSlot.objects.create(
        name="cpu-1", flavour="cpu", engine_version="1", path="/engines/cpu-1", digest="cd" * 32
    )
    Deployment.objects.create(model=model, slot=slot, max_model_len=8192, flags=["--enable-lora"])
    return model


@pytest.fixture
def acme(base: ModelVersion) -> Iterator[Caller]:
    plan = Plan.objects.create(name="standard", max_file_bytes=64 * 1024)
    yield Caller(*mint(Tenant.objects.create(id="acme", name="Acme", plan=plan), "ci"))
    shutil.rmtree(settings.ENV.data_dir / "files", ignore_errors=True)


@pytest.fixture
def rivals(acme: Caller) -> Caller:
    return Caller(*mint(Tenant.objects.create(id="rivals", name="Rivals", plan=acme.tenant.plan), "ci"))


@pytest.fixture
def server(db: None) -> Iterator[str]:
    """The control plane on a real socket, for clients that speak HTTP."""
    from django.test.testcases import LiveServerThread

    thread = LiveServerThread("127.0.0.1", lambda handler: handler, port=0)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    assert thread.error is None, thread.error
    yield f"http://127.0.0.1:{thread.port}"
    thread.terminate()
