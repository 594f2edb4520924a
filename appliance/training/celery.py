"""The Celery application: Redis carries wake-ups and nothing else, the rows are the truth.

The worker runs threads in one process, so that nothing of it outlives a SIGKILL; what trains is a process of its own
that dies with it.
"""

from __future__ import annotations

import os
from urllib.parse import parse_qs, urlsplit

from celery import Celery
from celery.signals import after_task_publish, beat_init, worker_init, worker_shutting_down
from django.conf import settings

from appliance.env import HOME_BOX

SWEEP_S = 5.0


def broker_url(redis_dsn: str) -> str:
    """redis-py's address of a server as Celery writes it."""
    url = urlsplit(redis_dsn)
    if url.scheme != "unix":
        return redis_dsn
    return f"redis+socket://{url.netloc}{url.path}?virtual_host={parse_qs(url.query).get('db', ['0'])[0]}"


def queue_of(box: str) -> str:
    """Where a box' worker takes its wake-ups from; "" is the home box."""
    return f"coderack.{box or HOME_BOX}"


HOME_QUEUE = queue_of("")  # also for all that only the home box can do: engines, cleaning, erasing, sweeping
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "appliance.settings")
app = Celery("coderack")
app.conf.update(
    broker_url=broker_url(settings.ENV.redis_dsn()),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # who sends a wake-up doesn't wait for Redis; the sweep comes anyway
    broker_transport_options={"max_retries": 0, "socket_connect_timeout": 2.0, "socket_timeout": 10.0},
    task_ignore_result=True,
    task_acks_late=False,  # a job that dies is found by its lease, not by its message
    task_default_queue=HOME_QUEUE,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
    timezone="UTC",
    beat_schedule={
        "sweep": {
            "task": "appliance.training.tasks.sweep",
            "schedule": SWEEP_S,
            "options": {"expires": 2 * SWEEP_S},
        }
    },
)
app.autodiscover_tasks(["appliance.training"])


@worker_shutting_down.connect
def _leave_what_runs(**_details: object) -> None:
    """A stop doesn't wait for a training to end: it leaves a checkpoint, and the next worker goes on from there."""
    from appliance.training.heartbeat import stopping  # noqa: PLC0415 - needs Django, which Celery sets up first

    stopping.set()


@worker_init.connect
def _show_the_worker(**_details: object) -> None:
    from appliance.metrics.show import show  # noqa: PLC0415 - see above
    from appliance.training import metrics  # noqa: PLC0415

    show(settings.ENV.metrics_dir, "worker", metrics.WORKER)


@beat_init.connect
def _show_beat(**_details: object) -> None:
    from appliance.metrics.show import show  # noqa: PLC0415 - see above
    from appliance.training import metrics  # noqa: PLC0415

    def count_tick(**_details: object) -> None:
        metrics.TICKS.inc()
        metrics.LAST_TICK.set_to_current_time()

    after_task_publish.connect(count_tick, weak=False)  # Redis has it
    show(settings.ENV.metrics_dir, "beat", metrics.BEAT)
