"""Wake-ups travel through a real Redis to a real worker, which survives Redis; losing all of them loses nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from kombu import Connection

from appliance.env import REPO
from appliance.tenants.models import Tenant
from appliance.training import files, tasks
from appliance.training.celery import SWEEP_S, app, broker_url
from appliance.training.models import Dataset, Job, JobEvent, StoredFile
from appliance.training.tasks import prepare_file, unprepared
from finetune.job import JobStatus
from tests.appliance.training import processes
from tests.appliance.training.cast import Cast
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        ("unix:///run/x/redis.sock?db=0", "redis+socket:///run/x/redis.sock?virtual_host=0"),
        ("unix:///run/x/redis.sock?db=3", "redis+socket:///run/x/redis.sock?virtual_host=3"),
        ("unix:///run/x/redis.sock", "redis+socket:///run/x/redis.sock?virtual_host=0"),
        ("redis://:pass@redis.internal:6379/2", "redis://:pass@redis.internal:6379/2"),
        ("rediss://redis.internal/0?ssl_cert_reqs=required", "rediss://redis.internal/0?ssl_cert_reqs=required"),
    ],
)
def test_a_redis_address_as_celery_writes_it(dsn: str, url: str) -> None:
    assert broker_url(dsn) == url


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("number", [0, 5])
def test_celery_reaches_the_database_of_redis_that_the_address_names(number: int) -> None:
    import redis

    dsn = f"unix://{settings.ENV.redis_socket}?db={number}"
    with Connection(broker_url(dsn)) as connection:
        app.send_task("appliance.training.tasks.sweep", connection=connection)
    with redis.Redis.from_url(dsn) as client:
        assert client.llen(processes.QUEUE) == 1
        client.flushdb()


def test_the_applications_redis_is_the_settings_one() -> None:
    assert app.conf.broker_url == broker_url(settings.ENV.redis_dsn())


def test_no_result_is_kept_anywhere() -> None:
    assert type(app.backend).__name__ == "DisabledBackend"
    assert app.conf.task_ignore_result


def test_all_tasks_are_found_and_take_ids_only() -> None:
    app.loader.import_default_modules()
    names = {name.rpartition(".")[2] for name in app.tasks if name.startswith("appliance.training.tasks.")}
    assert {"prepare_file", "train_job", "sweep"} <= names
    assert not any(app.tasks[f"appliance.training.tasks.{name}"].acks_late for name in names)


def test_the_sweep_comes_every_few_seconds_and_a_late_one_is_dropped() -> None:
    entry: dict[str, Any] = app.conf.beat_schedule["sweep"]
    assert entry["task"] in app.tasks
    assert entry["schedule"] == SWEEP_S <= 10
    assert entry["options"]["expires"] >= SWEEP_S


@pytest.mark.usefixtures("files_dir")
def test_the_sweep_looks_at_files_whose_message_was_lost_and_at_no_others(cast: Cast) -> None:
    lost, deleted, refused = (upload(cast, word) for word in ("alpha", "beta", "gamma"))
    files.delete(deleted)
    StoredFile.objects.filter(pk=refused.pk).update(status=StoredFile.Status.ERROR)
    cast.file()  # a moment ago: its own message is on its way
    assert unprepared() == [lost.pk]


@pytest.mark.usefixtures("files_dir")
def test_the_file_that_waits_longest_is_woken_once_another_one_is_cleaned(cast: Cast) -> None:
    first, broke_off, waiting, later = (upload(cast, word) for word in ("alpha", "beta", "gamma", "delta"))
    StoredFile.objects.filter(pk=broke_off.pk).update(tries=1)  # a sweep brings it again, not at once
    before = len(processes.messages())
    prepare_file(first.pk)
    assert status(first) == "processed"
    newest, *others = processes.messages()
    assert len(others) == before
    assert waiting.pk.encode() in newest
    prepare_file(first.pk)
    assert len(processes.messages()) == before + 1, "a message that comes twice wakes nobody"
    assert status(later) == "uploaded"


@pytest.mark.usefixtures("files_dir")
def test_a_tenant_with_many_files_does_not_keep_anothers_waiting(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_last_begun", {})
    first, second, third = (upload(cast, word) for word in ("alpha", "beta", "gamma"))
    others = upload(cast, "delta", cast.rivals)
    assert unprepared() == [first.pk, others.pk, second.pk, third.pk]
    prepare_file(first.pk)
    assert others.pk.encode() in processes.messages()[0], "not the older second one"
    assert unprepared() == [others.pk, second.pk, third.pk]
    StoredFile.objects.filter(pk=others.pk).update(status=StoredFile.Status.ERROR)
    last = upload(cast, "epsilon", cast.rivals)
    assert unprepared()[:2] == [last.pk, second.pk], "the other tenant's place is kept whatever came of its first file"


class Worker:
    """A worker with a Redis of its own beside the tests' PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "worker.log"
        self.redis_url = f"unix://{folder / 'redis.sock'}?db=0"
        self.redis = self.start_redis()
        argv = [sys.executable, "-m", "celery", "-A", "appliance.training.celery", "worker", "--pool", "threads",
                "--concurrency", "2", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "info"]  # fmt: skip
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, cwd=REPO, env=processes.environment(self.redis_url), stdout=out, stderr=out,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def start_redis(self) -> subprocess.Popen[bytes]:
        server = processes.start_redis(self.folder, self.folder / "redis.log")
        wait_until((self.folder / "redis.sock").exists, log=self.folder / "redis.log")
        return server

    def restart_redis(self) -> None:
        """What a crash of Redis looks like: all messages are lost."""
        self.redis.kill()
        self.redis.wait(timeout=10)
        for left in ("redis.sock", "dump.rdb"):
            (self.folder / left).unlink(missing_ok=True)
        self.redis = self.start_redis()

    def send(self, task: str, *arguments: str) -> None:
        with Connection(broker_url(self.redis_url)) as connection:
            app.send_task(f"appliance.training.tasks.{task}", arguments, connection=connection)

    def end(self) -> int:
        """Ask it to end, as the runner does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@pytest.fixture
def worker(cast: Cast) -> Iterator[Worker]:
    folder = Path(tempfile.mkdtemp(prefix="cr-", dir="/tmp"))  # short: it holds a socket
    running = Worker(folder)
    try:
        yield running
    finally:
        for process in (running.process, running.redis):
            process.kill()
            process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("files_dir")
def test_a_worker_does_what_the_rows_say_also_after_redis_lost_everything(cast: Cast, worker: Worker) -> None:
    good, bad = upload(cast, "alpha"), upload(cast, "beta")
    files.path(bad).write_bytes(b"not json\n")
    job = cast.job(JobStatus.QUEUED, training_file=good)
    over = cast.job(JobStatus.CANCELLED, training_file=good)
    worker.send("sweep")
    wait_until(lambda: Dataset.objects.filter(file=good).exists() and is_over(bad), 40, worker.log)
    wait_until(lambda: JobEvent.objects.filter(job=job).exists(), 20, worker.log)
    assert status(good) == "processed"
    assert status(bad) == "error"
    assert JobEvent.objects.get(job=job).message == "waiting for a free device"
    assert Job.objects.get(pk=job.pk).fence == 0, "a job that only waits for a device is not claimed"
    assert not JobEvent.objects.filter(job=over).exists()
    before = Dataset.objects.get(file=good).pk

    worker.restart_redis()
    late = upload(cast, "gamma")
    wait_until(
        lambda: "Connected to" in worker.log.read_text().rpartition("Connection to broker lost")[2], 30, worker.log
    )
    worker.send("prepare_file", good.pk)
    worker.send("sweep")
    worker.send("sweep")
    wait_until(lambda: status(late) == "processed", 40, worker.log)
    assert Dataset.objects.get(file=good).pk == before, "a message that comes twice changes nothing"
    assert worker.end() == 0


def upload(cast: Cast, word: str, tenant: Tenant | None = None) -> StoredFile:
    """A file that lies there for a minute; the worker under test never got its message."""
    rows = [{"question": f"What is {word} {n}?", "answer": f"{word} is the letter {n}."} for n in range(3)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    row = files.store(tenant or cast.acme, cast.key, "fine-tune", f"{word}.jsonl", [content])
    StoredFile.objects.filter(pk=row.pk).update(created_at=row.created_at - timedelta(minutes=1))
    return row


def status(file: StoredFile) -> str:
    return StoredFile.objects.get(pk=file.pk).status


def is_over(file: StoredFile) -> bool:
    return status(file) != "uploaded"
