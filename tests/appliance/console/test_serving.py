"""Serving: why a replica failed, with the engine's last words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from appliance.console.figures import UNKNOWN
from appliance.console.pages.serving import LOG_LINES, last_lines
from appliance.fleet import boxes, leases
from appliance.fleet.boxes import Abilities
from appliance.fleet.models import AttachedServer, Box, Deployment, Device, EngineLife, Replica
from appliance.training.models import Job
from inference.devices.info import DeviceInfo
from tests.appliance.console import tuning
from tests.appliance.console.cast import Cast


def _life(replica: Replica, log: Path) -> EngineLife:
    return EngineLife.objects.create(
        replica=replica,
        model_name="tiny-coder",
        pid=1,
        pid_started=1,
        socket="/x",
        log=str(log),
        started_at=timezone.now(),
    )


def _page(cast: Cast) -> str:
    return cast.client("operator").get("/serving/").content.decode()


def test_it_shows_the_last_log_lines_of_a_failed_engine(cast: Cast, deployment: Deployment, tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("\n".join(f"line {number}" for number in range(500)))
    replica = Replica.objects.create(
        deployment=deployment, index=0, state="failed", reason="it ended with status 1", restarts=3
    )
    _life(replica, log)
    page = _page(cast)
    assert "it ended with status 1" in page
    assert "line 499" in page
    assert "line 100\n" not in page


def test_it_shows_no_log_of_a_working_engine(cast: Cast, deployment: Deployment, tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("secret of the trade")
    _life(Replica.objects.create(deployment=deployment, index=0, state="ready"), log)
    assert "secret of the trade" not in _page(cast)


def test_it_survives_a_log_that_is_gone(cast: Cast, deployment: Deployment, tmp_path: Path) -> None:
    _life(Replica.objects.create(deployment=deployment, index=0, state="failed", reason="gone"), tmp_path / "none.log")
    assert "gone" in _page(cast)


def test_it_reads_only_the_end_of_a_huge_log(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"\xff" * 100_000 + b"\n" + b"x\n" * 100)
    assert last_lines(log).splitlines() == ["x"] * LOG_LINES


def test_it_shows_unknown_figures_as_a_dash(cast: Cast, deployment: Deployment) -> None:
    Replica.objects.create(deployment=deployment, index=0, state="loading")
    assert f'<td class="n">{UNKNOWN}</td>' in _page(cast)


def test_it_names_a_devices_owner_and_an_unseen_device(cast: Cast, deployment: Deployment) -> None:
    Replica.objects.create(deployment=deployment, index=0, state="ready", devices=["cpu:0"])
    old = timezone.now() - timedelta(minutes=10)
    Device.objects.create(id="cpu:0", kind="cpu", name="CPU", memory_bytes=1 << 30, seen_at=old)
    page = _page(cast)
    assert page.count("tiny-coder/0") == 2
    assert "not seen lately" in page


def test_it_shows_attached_servers_and_why_one_is_not_reached(cast: Cast) -> None:
    AttachedServer.objects.create(
        name="deepseek-outside", url="https://gpu7:8000", served_model="m", max_model_len=4096, tokenizer_path="/m",
        state="unreachable", reason="GET /health: <Connection refused>",
    )  # fmt: skip
    page = _page(cast)
    assert "https://gpu7:8000" in page
    assert "&lt;Connection refused&gt;" in page
    assert "deepseek-outside@https://gpu7:8000" in cast.client("operator").get("/").content.decode()


def test_it_shows_a_devices_power_links_and_foreign_processes(cast: Cast) -> None:
    Device.objects.create(
        id="nvidia:0", kind="nvidia", name="NVIDIA H20", memory_bytes=96 << 30, seen_at=timezone.now(), power_w=110.4,
        link_group="nvlink-0", foreign=[{"pid": 4711, "name": "<python>", "memory_bytes": 3 << 30}],
    )  # fmt: skip
    page = _page(cast)
    assert "110 W" in page
    assert "nvlink-0" in page
    assert "Processes that are not ours: &lt;python&gt; 4711 (3" in page


def test_it_says_what_lends_its_devices_and_who_has_them(cast: Cast, deployment: Deployment) -> None:
    assert "lends its devices" not in _page(cast)
    Deployment.objects.filter(pk=deployment.pk).update(lends=True, lend_window="22:00-06:00", min_serving=2)
    Replica.objects.create(
        deployment=deployment, index=0, state="sleeping", reason="lent to ftjob-1", lent_to="ftjob-1", lent=True
    )
    page = _page(cast)
    assert "lends its devices to fine-tunes between 22:00-06:00; 2 replicas at least go on serving." in page
    assert "lent to ftjob-1" in page
    assert "sleeping" in page


def test_it_shows_other_boxes_with_what_they_lack_and_work_on(cast: Cast) -> None:
    training_job = tuning.start(cast.acme)
    assert "Other boxes" not in _page(cast)
    assert boxes.enter("beta", "w1", "<host-b>")
    told = [DeviceInfo(id="nvidia:0", kind="nvidia", name="NVIDIA H20", memory_bytes=96 << 30)]
    assert boxes.report("beta", "w1", told, Abilities((), "demo: no weights at /srv/demo"))
    Job.objects.filter(pk=training_job.pk).update(box="beta", lease_expires_at=timezone.now() + timedelta(minutes=1))
    assert leases.lease_device(f"{training_job.pk}/1", 60.0, "beta") == "beta/nvidia:0"
    page = _page(cast)
    for words in ("Other boxes that fine-tune", "&lt;host-b&gt;", "demo: no weights at /srv/demo", "beta/nvidia:0"):
        assert words in page
    assert page.count(training_job.pk) == 3, "the box' job, as a link, and the device's owner"
    assert "beta" in cast.client("operator").get(f"/fine-tuning/{training_job.pk}/").content.decode()
    Box.objects.update(seen_at=timezone.now() - timedelta(minutes=10))
    assert "not seen lately" in _page(cast)
