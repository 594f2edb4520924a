"""Two boxes on one machine, with workers and trainers of their own: the storage is looked at, a killed box' job is finished."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from appliance.env import REPO, load
from appliance.fleet import boxes, leases
from appliance.fleet.inventory import save_inventory
from appliance.fleet.models import Box, Device, DeviceOwner
from appliance.fleet.storage import mark_storage
from appliance.fleet.storage_mark import MARK, make_mark
from appliance.registry.models import Adapter
from appliance.training import lease, tasks
from appliance.training.jobs import pause
from appliance.training.models import Checkpoint, Dataset, Job, JobEvent, StoredFile
from appliance.training.training import job_dir
from finetune.job import JobStatus
from inference.devices import detect
from ops.cli.specs import HOME_QUEUE, worker_arguments
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from tests.appliance.training import processes
from tests.appliance.training.cast import Cast
from tests.finetune.train.conftest import FACTS, chat_rows, write_rows
from tests.waiting import wait_until

SLOW_S = 150.0


class Boxes:
    """Workers as processes; `sweep` is beat's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def log(self, box: str) -> Path:
        return self._folder / f"{box}.log"

    def environment(self, box: str, **more: str) -> dict[str, str]:
        run_dir = self._folder / box
        run_dir.mkdir(exist_ok=True)
        return {**processes.environment(), "CODERACK_BOX": box, "CODERACK_RUN_DIR": str(run_dir), **more}

    def start(self, box: str, **more: str) -> subprocess.Popen[bytes]:
        argv = ["-m", "ops.cli.main", "worker"]
        if box == "home":
            argv = ["-m", "celery", "--app", "appliance.training.celery"]
            argv += worker_arguments("worker@coderack", HOME_QUEUE, "info")
        with self.log(box).open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, *argv], cwd=REPO, env=self.environment(box, **more), stdout=out, stderr=out,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self._running.append(process)
        return process

    def refusal(self, box: str, **more: str) -> str:
        """What a worker says that does not begin."""
        process = self.start(box, **more)
        assert process.wait(timeout=60) == 1, self.log(box).read_text()
        return " ".join(self.log(box).read_text().split())

    def until(self, condition: Callable[[], Any], timeout_s: float = SLOW_S) -> Any:
        """Sweep, as beat has it done, until something is so."""
        deadline, swept = time.monotonic() + timeout_s, 0.0
        while time.monotonic() < deadline:
            if time.monotonic() - swept > 1.0:
                swept = time.monotonic()
                tasks.sweep()
            if found := condition():
                return found
            time.sleep(0.05)
        logs = "\n".join(f"{path.name}: {path.read_text()[-3000:]}" for path in self._folder.glob("*.log"))
        told = list(JobEvent.objects.exclude(type="metrics").values_list("job_id", "message"))
        raise AssertionError(f"it never came: {told}\n{logs}")

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait(timeout=20)


@pytest.fixture
def at_work(db: None) -> Iterator[Boxes]:
    folder = Path(tempfile.mkdtemp(prefix="cb-", dir="/tmp"))
    mark_storage(settings.ENV.data_dir)
    started = Boxes(folder)
    yield started
    started.end()
    (settings.ENV.data_dir / MARK).unlink(missing_ok=True)
    shutil.rmtree(folder)


def test_a_worker_tells_what_its_box_has_and_when_it_leaves(at_work: Boxes) -> None:
    worker = at_work.start("beta")
    found = wait_until(Device.everywhere.first, 60, at_work.log("beta"))
    box = Box.objects.get()
    assert (found.id, found.box_id, found.kind in {"cpu", "nvidia"}) == ("beta/cpu:0", "beta", True)
    first = box.seen_at
    wait_until(lambda: Box.objects.get().seen_at > first, 20, at_work.log("beta"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    assert boxes.living() == []


@pytest.mark.parametrize("what", ["missing", "foreign"])
def test_a_worker_does_not_begin_without_the_shared_storage(at_work: Boxes, what: str) -> None:
    mark = settings.ENV.data_dir / MARK
    mark.unlink()
    if what == "foreign":
        make_mark(settings.ENV.data_dir)
    said = at_work.refusal("beta")
    assert ("is the shared storage mounted" if what == "missing" else "not the data directory of this database") in said
    assert not Box.objects.exists()


def test_below_a_missing_mount_nothing_is_written(at_work: Boxes, tmp_path: Path) -> None:
    (empty := tmp_path / "mount").mkdir()
    assert "is the shared storage mounted" in at_work.refusal(
        "beta", CODERACK_DATA_DIR=str(empty), CODERACK_SECRET_KEY=""
    )
    assert list(empty.iterdir()) == []


def test_a_worker_ends_when_its_storage_becomes_another_one(at_work: Boxes) -> None:
    worker = at_work.start("beta")
    wait_until(boxes.living, 60, at_work.log("beta"))
    make_mark(settings.ENV.data_dir)
    assert worker.wait(timeout=30) == 0
    assert "not the data directory of this database" in at_work.log("beta").read_text()
    assert boxes.living() == []


def test_a_second_worker_of_a_box_is_refused(at_work: Boxes) -> None:
    at_work.start("beta")
    wait_until(boxes.living, 60, at_work.log("beta"))
    (own := at_work.log("beta").parent / "again").mkdir()
    assert "give this one another CODERACK_BOX" in at_work.refusal("beta", CODERACK_RUN_DIR=str(own))


@pytest.mark.parametrize(
    ("name", "variables", "says"),
    [
        ("home", {"CODERACK_BOX": "home"}, "its worker is started by `coderack up`"),
        (
            "embedded",
            {"DATABASE_URL": "", "REDIS_URL": ""},
            "DATABASE_URL and REDIS_URL must name the home box' servers",
        ),
    ],
)
def test_a_worker_says_what_it_needs(at_work: Boxes, name: str, variables: dict[str, str], says: str) -> None:
    assert says in at_work.refusal("beta", **variables), name


def test_an_appliance_does_not_begin_on_another_box(at_work: Boxes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli.main", "up"], cwd=REPO, env=at_work.environment("beta"), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "an appliance begins on the home box" in " ".join(done.stderr.split())


@pytest.fixture
def tiny(cast: Cast, slot_python: Path) -> Cast:
    """The cast with a base that trains in seconds, and a home box with one free device."""
    cast.deployment.slot.path = str(slot_python.parent.parent)
    cast.deployment.slot.save()
    cast.base.path = str(ensure_tiny_deepseek(load().cache_dir, slot_python))
    cast.base.preset = "deepseek-coder-v2-lite-instruct"
    cast.base.save()
    save_inventory(detect("cpu", 1), None)
    return cast


def prepared(cast: Cast) -> StoredFile:
    """A cleaned file of some hundred rows."""
    file = cast.file(status=StoredFile.Status.PROCESSED)
    folder = settings.ENV.data_dir / "datasets" / "acme" / file.pk
    folder.mkdir(parents=True)
    rows = write_rows(folder / "rows.jsonl", chat_rows(FACTS) * 10)
    (folder / "manifest.json").write_text("{}")
    (folder / "planted.json").write_text("[]")
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    Dataset.objects.create(file=file, kind="chat", path=str(folder), digest=digest, rows=40, report={})
    return file


def weights(job: Job) -> str:
    row = Job.objects.select_related("adapter").get(pk=job.pk)
    assert isinstance(row.adapter, Adapter)
    return hashlib.sha256((Path(row.adapter.path) / "adapter_model.safetensors").read_bytes()).hexdigest()


def story(job: Job) -> list[str]:
    return list(JobEvent.objects.filter(job=job).exclude(type="metrics").values_list("message", flat=True))


def is_scored(job: Job) -> bool:
    return any((job_dir(job.pk) / "scores").glob("*.json"))


@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_a_killed_or_frozen_boxs_job_is_finished_at_home_as_if_nothing_had_happened(
    tiny: Cast, at_work: Boxes, number: signal.Signals
) -> None:
    file = prepared(tiny)
    asked = {"training_file": file, "hyperparameters": {"n_epochs": 8, "batch_size": 2}}
    try:
        beta = at_work.start("beta")
        wait_until(lambda: any(box.bases for box in boxes.living()), 60, at_work.log("beta"))
        whole = tiny.job(JobStatus.QUEUED, **asked)
        at_work.until(lambda: is_scored(whole))
        whole.refresh_from_db()
        assert (whole.box, whole.fence) == ("beta", 1)
        at_work.until(lambda: "trained on beta: its checks are made on home" in story(whole))
        pause(whole)
        assert not DeviceOwner.objects.exists()

        killed = tiny.job(JobStatus.QUEUED, **asked)
        at_work.start("home")
        at_work.until(lambda: Checkpoint.objects.filter(job=killed).exists())
        row = Job.objects.get(pk=killed.pk)
        assert (row.box, row.fence, row.adapter) == ("beta", 1, None)
        assert leases.owners() == {"beta/cpu:0": killed.pk}
        held_until = row.lease_expires_at
        beta.send_signal(number)
        at_work.until(lambda: is_scored(killed))
        row.refresh_from_db()
        assert (row.box, row.fence >= 2) == ("", True)
        assert JobEvent.objects.filter(job=killed, message__startswith="training goes on on cpu:0").get().created_at > (
            held_until or row.created_at
        ), "nobody else had it before the lease ran out"
        assert any(line.startswith("the trainer begins from step") for line in story(killed)), story(killed)
        assert weights(killed) == weights(whole)
        assert not lease.held(killed.pk, 1).update(error={"code": "late"}), "the old holder changes nothing"
        if number == signal.SIGSTOP:
            before = Job.objects.filter(pk=killed.pk).values("adapter", "status", "error", "trained_tokens").get()
            beta.send_signal(signal.SIGCONT)
            wait_until(lambda: "is not this attempt's any more" in at_work.log("beta").read_text(), 30)
            assert Job.objects.filter(pk=killed.pk).values(*before).get() == before
            assert weights(killed) == weights(whole)
    finally:
        at_work.end()
        shutil.rmtree(settings.ENV.data_dir / "jobs", ignore_errors=True)
        shutil.rmtree(settings.ENV.data_dir / "datasets", ignore_errors=True)
