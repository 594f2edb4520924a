"""A new version gets a share of the requests before all of them."""

from __future__ import annotations

import pytest

from appliance.fleet import canaries
from appliance.fleet.models import Deployment
from appliance.operations import upgrades
from appliance.operations.upgrade_steps import canary
from appliance.operations.upgrades import Trial, Watch
from tests.appliance.operations.row_pool import served_digest
from tests.appliance.operations.upgrade_site import NAME, Site, site, states

__all__ = ["site"]
pytestmark = pytest.mark.usefixtures("db")


def test_a_new_version_is_a_canary_first_where_the_plan_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "LOOK_S", 0.01)
    monkeypatch.setattr(canary, "POLL_S", 0.0)
    told: list[tuple[int, bool]] = []

    def tell(line: str) -> None:
        if "% of the requests" in line:
            row = Deployment.objects.get(name=NAME, running=True, serves=False)
            told.append((row.canary_share, served_digest(NAME) == site.old.digest))

    first = upgrades.apply(site.plan(site.bundle(), trial=Trial(5, 0)), Watch(tell=tell))
    assert (first.state, told) == ("done", [(5, True)])
    assert list(states(first)) == ["preflight", "import", "beside", "smoke", "canary", "switch", "drain"]
    assert not Deployment.objects.filter(canary_share__gt=0).exists()

    def off(line: str) -> None:
        if "% of the requests" in line:
            canaries.set_share(NAME, 0)

    second = upgrades.apply(site.plan(site.bundle(3), trial=Trial(5, 60)), Watch(tell=off))
    assert second.state == "undone"
    assert "taken back" in second.reason
    assert served_digest(NAME) == first.digest
