"""Fine-tuning's pages: the list, one job with its losses, checks and story, and what a person may do with it."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.translation import override

from appliance.console import losses
from appliance.console.findings import figure
from appliance.console.paging import PAGE_SIZE
from appliance.console.refusals import SENTENCES, in_words
from appliance.fleet.models import Deployment, Device, DeviceOwner
from appliance.tenants.models import Tenant
from appliance.training import jobs
from appliance.training.errors import JobRefused
from appliance.training.events import add_event
from appliance.training.models import Job
from tests.appliance.console import tuning
from tests.appliance.console.cast import Cast
from tests.appliance.training.plans import PLAN

STATES = ("validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled")


def _page(cast: Cast, address: str, person: str = "owner") -> str:
    response = cast.client(person).get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_it_says_how_to_start_the_first_one(cast: Cast, deployment: Deployment) -> None:
    Deployment.objects.update(flags=["--enable-lora"])
    page = _page(cast, "/fine-tuning/")
    assert "client.fine_tuning.jobs.create" in page
    assert "model=&quot;tiny-coder&quot;" in page
    assert "http://testserver/v1" in page


@pytest.mark.parametrize("status", STATES)
def test_it_shows_each_state_in_a_word(cast: Cast, status: str) -> None:
    job = tuning.start(cast.acme, status=status)
    word = "checking files" if status == "validating_files" else status
    for address in ("/fine-tuning/", f"/fine-tuning/{job.pk}/"):
        assert f">{word}</span>" in _page(cast, address)


def test_it_lists_only_own_tenants_jobs(cast: Cast) -> None:
    ours, theirs = tuning.start(cast.acme), tuning.start(cast.rivals)
    page = _page(cast, "/fine-tuning/")
    assert ours.pk in page
    assert theirs.pk not in page
    everyone = _page(cast, "/fine-tuning/", "operator")
    assert ours.pk in everyone
    assert theirs.pk in everyone
    assert ours.pk not in _page(cast, "/fine-tuning/", "stranger")


def test_it_filters_by_state_and_tenant(cast: Cast) -> None:
    failed, running = tuning.start(cast.acme, status="failed"), tuning.start(cast.rivals)
    page = _page(cast, "/fine-tuning/?state=failed", "operator")
    assert failed.pk in page
    assert running.pk not in page
    assert failed.pk not in _page(cast, "/fine-tuning/?tenant=rivals", "operator")
    assert "No fine-tune matches" in _page(cast, "/fine-tuning/?state=nonsense")


def test_it_pages_through_all_of_many(cast: Cast) -> None:
    file = tuning.upload(cast.acme)
    ids = {tuning.start(cast.acme, training_file=file).pk for _ in range(PAGE_SIZE + 7)}
    Job.objects.update(created_at=timezone.now())  # one moment: the id decides
    seen: list[str] = []
    address = "/fine-tuning/"
    while address:
        context = cast.client("owner").get(address).context
        seen += [row["job"].pk for row in context["rows"]]
        address = f"/fine-tuning/?{context['older']}" if context["older"] else ""
    assert len(seen) == len(ids)
    assert set(seen) == ids


def test_it_shows_the_last_loss_of_each(cast: Cast) -> None:
    job = tuning.start(cast.acme)
    tuning.train(job, [2.0, 1.25])
    add_event(job.pk, "step 2: validation loss", data={"step": 2, "valid_loss": 1.5})
    assert "1.2500</td>" in _page(cast, "/fine-tuning/")


def test_it_draws_both_losses_and_puts_a_table_behind_them(cast: Cast) -> None:
    job = tuning.start(cast.acme)
    tuning.train(job, [2.0, 1.5])
    add_event(job.pk, "step 2: validation loss", data={"step": 2, "valid_loss": 1.75})
    page = _page(cast, f"/fine-tuning/{job.pk}/")
    assert page.count('<path class="series') == 2
    assert "1.7500</td>" in page
    assert "No step was reported yet" in _page(cast, f"/fine-tuning/{tuning.start(cast.acme).pk}/")


def test_it_takes_the_later_attempts_losses() -> None:
    found = losses.merged([(1, 2.0, None), (2, 1.5, None), (3, 9.0, None), (2, 1.4, None), (2, None, 1.6), ("x", 1, 1)])
    assert [(step.step, step.train_loss, step.valid_loss) for step in found] == [
        (1, 2.0, None), (2, 1.4, 1.6), (3, 9.0, None),
    ]  # fmt: skip


def test_it_thins_a_long_curve_and_keeps_its_ends() -> None:
    points = [(step, float(step)) for step in range(10_000)]
    thin = losses.thinned(points)
    assert len(thin) == losses.MOST_POINTS
    assert thin[0] == (0, 0.0)
    assert thin[-1][0] == 9_999


def test_it_shows_what_training_takes_in_both_languages(cast: Cast) -> None:
    job = tuning.start(cast.acme, plan=PLAN)
    page = _page(cast, f"/fine-tuning/{job.pk}/")
    for words in ("What training takes", "256.5 MiB the base&#x27;s weights", "= <strong>3.6 GiB</strong>",
                  "of 7.5 GiB that the device has for it", "167.8 MiB checkpoints", "53.0 s",
                  "6 min 20 s", "by the speed of former fine-tunes"):  # fmt: skip
        assert words in page
    client = cast.client("owner")
    client.cookies["coderack_language"] = "zh-hans"
    chinese = client.get(f"/fine-tuning/{job.pk}/").content.decode()
    assert "训练资源预估" in chinese
    assert "激活值" in chinese


def test_it_says_nothing_of_a_plan_that_is_not_there(cast: Cast) -> None:
    unknown = PLAN | {"memory": None, "time": None}
    page = _page(cast, f"/fine-tuning/{tuning.start(cast.acme, plan=unknown).pk}/")
    assert "Not known for this architecture." in page
    assert "Training takes" not in page
    assert 'id="plan"' not in _page(cast, f"/fine-tuning/{tuning.start(cast.acme).pk}/")


def test_it_says_what_failed_and_what_to_do(cast: Cast) -> None:
    error = {"code": "out_of_memory", "message": "the batch needs 90 GiB", "param": None}
    page = _page(cast, f"/fine-tuning/{tuning.start(cast.acme, status='failed', error=error).pk}/")
    for words in ("out_of_memory", "the batch needs 90 GiB", "smaller batch_size"):
        assert words in page


def test_it_shows_each_check_with_verdict_reason_and_numbers(cast: Cast) -> None:
    job = tuning.start(cast.acme)
    tuning.finish(job)
    page = _page(cast, f"/fine-tuning/{job.pk}/")
    for words in (
        'word-good">passed', 'word-bad">failed', 'word-idle">not enough evidence', "the adapter gave away 2 values",
        "tokens compared 12\u202f345", "rules aws-key 2", "a-new-check", "a new figure 7",
    ):  # fmt: skip
        assert words in page


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [("tokens", 12345, "12\u202f345"), ("mean_difference", 0.00123456, "0.001235"), ("loss_tolerated", 0.1, "10 %"),
     ("rules", {}, "–"), ("x", None, "–"), ("x", True, "True")],
)  # fmt: skip
def test_it_writes_measured_values_with_the_digits_that_matter(key: str, value: object, text: str) -> None:
    assert figure(key, value) == text


def test_it_says_who_may_decide_on_a_waiting_adapter(cast: Cast) -> None:
    job = tuning.start(cast.acme, by=cast.owner)
    tuning.finish(job)
    page = _page(cast, f"/fine-tuning/{job.pk}/")
    assert "waits for a second person" in page
    assert "You asked for this fine-tune" in page
    assert '">Decide</a>' not in page
    assert '">Decide</a>' in _page(cast, f"/fine-tuning/{job.pk}/", "operator")


def test_it_names_the_device_that_is_lent_to_the_job(cast: Cast) -> None:
    job = tuning.start(cast.acme, fence=3)
    Device.objects.create(id="cpu:1", kind="cpu", name="CPU", memory_bytes=1, seen_at=timezone.now())
    DeviceOwner.objects.create(device_id="cpu:1", job_id=f"{job.pk}/3", expires_at=timezone.now())
    assert "<dd>cpu:1</dd>" in _page(cast, f"/fine-tuning/{job.pk}/")
    assert job.pk in _page(cast, "/serving/", "operator")


def test_it_pages_through_the_story_and_leaves_the_steps_out_unless_asked(cast: Cast) -> None:
    job = tuning.start(cast.acme)
    for number in range(45):
        add_event(job.pk, f"line {number}")
    tuning.train(job, [2.0])
    client, address = cast.client("owner"), f"/fine-tuning/{job.pk}/"
    first = client.get(address)
    assert first.context["events"][0].message == "line 44"
    assert client.get(f"{address}?events=all").context["events"][0].message.startswith("step 1")
    second = client.get(f"{address}?{first.context['older']}")
    assert second.context["events"][0].message == "line 24"
    assert client.get(f"{address}?before=nonsense").context["events"][0].message == "line 44"


def test_its_live_part_carries_the_state_and_the_actions(cast: Cast) -> None:
    job = tuning.start(cast.acme)
    page = _page(cast, f"/fine-tuning/{job.pk}/?part=live")
    assert "<html" not in page
    assert '<template data-into="job-state">' in page
    assert f"/fine-tuning/{job.pk}/pause/" in page
    assert "<html" not in _page(cast, "/fine-tuning/?part=live")


@pytest.mark.parametrize(
    ("status", "acts"),
    [("running", {"cancel", "pause"}), ("paused", {"cancel", "resume"}), ("queued", {"cancel", "pause"}), ("failed", set()),
     ("succeeded", set())],
)  # fmt: skip
def test_it_offers_what_can_be_done_now(cast: Cast, status: str, acts: set[str]) -> None:
    job = tuning.start(cast.acme, status=status)
    assert cast.client("owner").get(f"/fine-tuning/{job.pk}/").context["acts"] == acts
    assert cast.client("developer").get(f"/fine-tuning/{job.pk}/").context["acts"] == set()


def test_it_says_what_cancelling_loses_and_then_cancels(cast: Cast) -> None:
    job = tuning.start(cast.acme)
    tuning.train(job, [2.0, 1.5])
    assert "2 steps of training are lost" in _page(cast, f"/fine-tuning/{job.pk}/cancel/")
    page = cast.client("owner").post(f"/fine-tuning/{job.pk}/cancel/", follow=True).content.decode()
    assert "was cancelled" in page
    assert Job.objects.get(pk=job.pk).status == "cancelled"


def test_it_pauses_and_resumes(cast: Cast) -> None:
    job, client = tuning.start(cast.acme), cast.client("operator")
    client.post(f"/fine-tuning/{job.pk}/pause/")
    assert Job.objects.get(pk=job.pk).status == "paused"
    client.post(f"/fine-tuning/{job.pk}/resume/")
    assert Job.objects.get(pk=job.pk).status == "queued"


def test_it_says_so_when_an_act_comes_too_late(cast: Cast) -> None:
    job = tuning.start(cast.acme, status="succeeded")
    for act in ("cancel", "pause", "resume"):
        page = cast.client("owner").post(f"/fine-tuning/{job.pk}/{act}/", follow=True).content.decode()
        assert "note-error" in page
    assert Job.objects.get(pk=job.pk).status == "succeeded"


@pytest.mark.parametrize("act", ["cancel", "pause", "resume"])
@pytest.mark.parametrize(("person", "status"), [("developer", 403), ("rival", 404), ("stranger", 404), (None, 302)])
def test_it_lets_nobody_else_act(cast: Cast, act: str, person: str, status: int) -> None:
    job = tuning.start(cast.acme, status="paused" if act == "resume" else "running")
    assert cast.client(person).post(f"/fine-tuning/{job.pk}/{act}/").status_code == status
    assert Job.objects.get(pk=job.pk).status == job.status


@pytest.mark.parametrize("act", ["cancel", "pause", "resume"])
def test_it_wants_a_form_of_its_own(cast: Cast, act: str) -> None:
    job = tuning.start(cast.acme)
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.owner)
    assert client.post(f"/fine-tuning/{job.pk}/{act}/").status_code == 403
    assert Job.objects.get(pk=job.pk).status == "running"


def test_it_says_every_refusal_in_the_readers_language(cast: Cast) -> None:
    for sentence in SENTENCES:
        said = sentence % {"name": "ft:a:b", "state": "active", "status": "paused", "tenant": "acme", "most": 50}
        with override("zh-hans"):
            assert not in_words(said).isascii(), said
        with override("en"):
            assert in_words(said) == said
    job = tuning.start(cast.acme, status="succeeded")
    for act in (jobs.cancel, jobs.pause, jobs.resume):
        with pytest.raises(JobRefused) as refused, override("zh-hans"):
            act(job)
        with override("zh-hans"):
            assert in_words(refused.value.message) != refused.value.message
    assert in_words("something new") == "something new"


def test_it_changes_a_tenants_rule_for_adapters(cast: Cast) -> None:
    page = (
        cast.client("operator")
        .post("/tenants/acme/policy/", {"adapter_policy": "approve"}, follow=True)
        .content.decode()
    )
    assert "after a second person approves" in page
    assert Tenant.objects.get(id="acme").adapter_policy == "approve"
    cast.client("operator").post("/tenants/acme/policy/", {"adapter_policy": "nonsense"})
    assert cast.client("owner").post("/tenants/acme/policy/", {"adapter_policy": "auto"}).status_code == 403
    assert Tenant.objects.get(id="acme").adapter_policy == "approve"
