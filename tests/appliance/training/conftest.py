"""The cast as rows, and an empty folder for the tenants' files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from appliance.fleet.models import Deployment
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.keys import mint
from appliance.tenants.models import Membership, Plan, Tenant, User
from appliance.training.models import Job
from tests.appliance.training.cast import BASE, Cast

PEOPLE = ("operator", "owner", "other_owner", "developer", "rival", "stranger")


@pytest.fixture
def cast(db: None) -> Cast:
    plan = Plan.objects.create(name="standard", max_active_jobs=3, max_files=100, max_file_bytes=60_000)
    acme = Tenant.objects.create(id="acme", name="Acme", plan=plan)
    rivals = Tenant.objects.create(id="rivals", name="Rivals", plan=plan)
    people = {name: User.objects.create(username=name, is_staff=name == "operator") for name in PEOPLE}
    for name in ("owner", "other_owner"):
        Membership.objects.create(user=people[name], tenant=acme, role=Membership.Role.OWNER)
    Membership.objects.create(user=people["developer"], tenant=acme)
    Membership.objects.create(user=people["rival"], tenant=rivals, role=Membership.Role.OWNER)
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    model = ModelVersion.objects.create(
        name=BASE, preset="smollm2-135m-instruct", path="/models/smollm2", digest="ab" * 32, max_model_len=2048
    )
    deployment = Deployment.objects.create(model=model, slot=slot, max_model_len=2048, flags=["--enable-lora"])
    keys = (mint(acme, "ci", people["developer"])[0], mint(rivals, "ci", people["rival"])[0])
    return Cast(acme, rivals, **people, key=keys[0], rival_key=keys[1], deployment=deployment)


@pytest.fixture
def job(cast: Cast) -> Job:
    """A queued job that nobody holds."""
    return cast.job()


@pytest.fixture
def files_dir(db: None) -> Iterator[Path]:
    """Where uploads lie, empty; what the test left there, and what was made of it, goes with it."""
    data_dir = Path(settings.ENV.data_dir)
    _empty(data_dir)
    yield data_dir / "files"
    _empty(data_dir)


def _empty(data_dir: Path) -> None:
    for folder in ("files", "datasets"):
        shutil.rmtree(data_dir / folder, ignore_errors=True)
