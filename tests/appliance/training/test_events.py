"""A job's story: lines in order, metrics marked as such, nothing said twice in a row."""

from __future__ import annotations

from appliance.training.events import add_event, say_once
from appliance.training.models import Job, JobEvent


def story(job: Job) -> list[tuple[str, str, str]]:
    return list(JobEvent.objects.filter(job=job).values_list("level", "type", "message"))


def test_lines_are_kept_in_the_order_in_which_they_were_said(job: Job) -> None:
    for number in range(5):
        add_event(job.pk, f"line {number}")
    assert [message for _, _, message in story(job)] == [f"line {number}" for number in range(5)]


def test_a_line_with_figures_is_metrics_and_keeps_them(job: Job) -> None:
    add_event(job.pk, "step 1", data={"step": 1, "train_loss": 0.5})
    add_event(job.pk, "careful", "warn")
    assert story(job) == [("info", "metrics", "step 1"), ("warn", "message", "careful")]
    assert JobEvent.objects.get(message="step 1").data == {"step": 1, "train_loss": 0.5}


def test_every_line_has_an_id_of_its_own(job: Job) -> None:
    for _ in range(20):
        add_event(job.pk, "the same")
    ids = JobEvent.objects.filter(job=job).values_list("id", flat=True)
    assert len(set(ids)) == 20
    assert all(name.startswith("ftevent-") for name in ids)


def test_what_was_said_last_is_not_said_again(job: Job) -> None:
    for message in ("waiting", "waiting", "training", "waiting"):
        say_once(job.pk, message)
    assert [message for _, _, message in story(job)] == ["waiting", "training", "waiting"]
