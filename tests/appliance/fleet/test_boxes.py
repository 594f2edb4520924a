"""Boxes by the database's clock: one worker each, their devices apart from the pool's, and each device one owner's."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from appliance.fleet import boxes, leases
from appliance.fleet.boxes import Abilities
from appliance.fleet.errors import BoxRefused
from appliance.fleet.inventory import save_inventory
from appliance.fleet.models import Box, Device, DeviceOwner
from inference.devices.info import DeviceInfo
from tests.appliance.training.racing import at_once

pytestmark = pytest.mark.usefixtures("db")
CPU = DeviceInfo(id="cpu:0", kind="cpu", name="A CPU", memory_bytes=2**34)
CARDS = [DeviceInfo(id=f"nvidia:{n}", kind="nvidia", name="A card", memory_bytes=2**36, group="nvlink") for n in (0, 1)]
TTL_S = 20.0


def enter(name: str = "beta", worker: str = "w1") -> None:
    assert boxes.enter(name, worker, "host-b")


def silence(name: str = "beta") -> None:
    """It was last seen a while ago."""
    Box.objects.filter(pk=name).update(seen_at=Now() - timedelta(seconds=boxes.SILENT_S + 1))


@pytest.fixture
def beta() -> None:
    """A box with one device, beside a home box with one."""
    save_inventory([CPU], None)
    enter()
    assert boxes.report("beta", "w1", [CPU], Abilities(("base",)))


def test_a_box_has_one_worker_and_another_gets_its_name_once_it_is_silent() -> None:
    enter()
    assert not boxes.enter("beta", "w2", "host-c")
    silence()
    assert boxes.enter("beta", "w2", "host-c")
    assert not boxes.report("beta", "w1", [CPU], Abilities(())), "who comes back late is not the box any more"
    assert not Device.everywhere.exists()


def test_of_several_workers_at_once_one_gets_the_name() -> None:
    won = at_once(*[partial(boxes.enter, "beta", f"w{n}", "host") for n in range(4)])
    assert sorted(won) == [False, False, False, True]


def test_who_leaves_frees_the_name_at_once() -> None:
    enter()
    boxes.leave("beta", "another")
    assert [box.pk for box in boxes.living()] == ["beta"]
    boxes.leave("beta", "w1")
    assert boxes.living() == []
    assert boxes.enter("beta", "w2", "host-c")


def test_a_silent_box_is_not_among_the_living_and_goes_after_a_day(beta: None) -> None:
    silence()
    boxes.forget_gone()
    assert boxes.living() == []
    assert [(box.pk, alive) for box, alive in boxes.standing()] == [("beta", False)]
    Box.objects.update(seen_at=Now() - boxes.FORGOTTEN_AFTER - timedelta(seconds=1))
    boxes.forget_gone()
    assert not Box.objects.exists()
    assert list(Device.everywhere.values_list("id", flat=True)) == ["cpu:0"]


def test_a_name_that_ray_has_is_refused() -> None:
    Device.objects.create(id="beta/nvidia:0", kind="nvidia", name="far", memory_bytes=1, seen_at=timezone.now())
    with pytest.raises(BoxRefused, match="Ray"):
        boxes.enter("beta", "w1", "host-b")


def test_the_pools_inventory_and_a_boxs_leave_each_other_alone(beta: None) -> None:
    assert list(Device.objects.values_list("id", flat=True)) == ["cpu:0"]
    assert boxes.report("beta", "w1", CARDS, Abilities(()))
    assert sorted(Device.everywhere.values_list("id", flat=True)) == ["beta/nvidia:0", "beta/nvidia:1", "cpu:0"]
    save_inventory(CARDS, None)
    assert list(Device.objects.values_list("id", "link_group")) == [("nvidia:0", "nvlink"), ("nvidia:1", "nvlink")]
    assert set(Device.everywhere.filter(box="beta").values_list("link_group", flat=True)) == {"beta/nvlink"}


def test_each_box_leases_its_own_devices_at_the_same_time(beta: None) -> None:
    assert at_once(lambda: leases.lease_device("a/1", TTL_S), lambda: leases.lease_device("b/1", TTL_S, "beta")) == [
        "cpu:0",
        "beta/cpu:0",
    ]
    assert (leases.any_free(), leases.any_free("beta")) == (False, False)
    assert leases.lease_device("c/1", TTL_S) is None
    assert leases.lease_device("c/1", TTL_S, "beta") is None


def test_of_many_that_want_a_boxs_device_one_gets_it(beta: None) -> None:
    for turn in range(10):
        got = at_once(*[partial(leases.lease_device, f"j{n}/{turn}", TTL_S, "beta") for n in range(4)])
        assert sorted(map(str, got)) == ["None"] * 3 + ["beta/cpu:0"]
        DeviceOwner.objects.all().delete()


def test_an_expired_lease_on_a_boxs_device_is_free_again(beta: None) -> None:
    assert leases.lease_device("a/1", TTL_S, "beta") == "beta/cpu:0"
    assert leases.num_free("beta") == 0
    DeviceOwner.objects.update(expires_at=Now() - timedelta(milliseconds=1))
    assert leases.num_free("beta") == 1
    assert leases.lease_device("b/1", TTL_S, "beta") == "beta/cpu:0"


def test_an_unhealthy_device_of_a_box_is_not_lent(beta: None) -> None:
    Device.everywhere.filter(box="beta").update(healthy=False)
    assert leases.lease_device("a/1", TTL_S, "beta") is None
