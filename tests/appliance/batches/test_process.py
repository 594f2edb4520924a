"""The batches' process against a gateway that speaks HTTP and a real PostgreSQL: from the upload to the output file."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from appliance.batches.answers import failed
from appliance.batches.models import Batch
from appliance.batches.pace import MOST
from appliance.batches.results import ResultFile, batch_dir
from appliance.tenants.keys import revoke
from appliance.tenants.models import ApiKey, Tenant
from appliance.training import files
from tests.appliance.batches.cast import COMPLETIONS, Caller, over, request, rows_of
from tests.appliance.batches.conftest import FakeGateway
from tests.waiting import wait_until

Start = Callable[[], subprocess.Popen[bytes]]


def row(batch: Batch) -> Batch:
    return Batch.objects.get(pk=batch.pk)


def test_it_answers_every_line_once_and_sorts_answers_from_errors(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    orders = {
        "plain": "", "busy": "busy=2", "limit": "limit=2", "fault": "fault=2", "drop": "drop=1", "bad": "status=400",
        "quota": "quota=1", "broken": "fault=99",
    }  # fmt: skip
    batch = acme.begin(*(request(name, order) for name, order in orders.items()))
    start()
    done = over(batch)
    answers, errors = rows_of(done.output_file), rows_of(done.error_file)
    assert {one["custom_id"] for one in answers} == {"plain", "busy", "limit", "fault", "drop"}
    assert {one["custom_id"]: one["response"]["status_code"] for one in errors} == {
        "bad": 400, "quota": 429, "broken": 500,
    }  # fmt: skip
    for one in answers:
        assert one["response"]["status_code"] == 200
        assert one["response"]["body"]["choices"][0]["message"]["content"] == one["custom_id"]
        assert (one["response"]["request_id"], one["error"]) == ("req_1", None)
    assert (done.status, done.num_lines, done.num_completed, done.num_failed) == ("completed", 8, 5, 3)
    assert (done.input_tokens, done.cached_tokens, done.output_tokens) == (35, 15, 10)
    assert gateway.asked["broken"] == 4
    assert gateway.asked["quota"] == gateway.asked["bad"] == 1
    assert done.created_at < done.in_progress_at < done.finalizing_at < done.completed_at  # type: ignore[operator]
    assert not batch_dir("acme", batch.pk).exists()


def test_its_requests_have_a_key_of_their_own_in_the_lane_of_batches(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    line = request("one", body={"prompt": "one"}, url=COMPLETIONS)
    start()
    batch = over(acme.begin(line, endpoint=COMPLETIONS))
    assert gateway.paths == {COMPLETIONS}
    (key,) = ApiKey.objects.filter(internal=True)
    assert (key.lane, key.tenant_id, key.limits_of) == ("batch", "acme", acme.key)
    assert key.expires_at is not None
    assert key.revoked_at is not None
    assert batch.internal_keys == [key.pk]


def test_a_killed_process_is_followed_by_one_that_loses_nothing_and_repeats_only_what_was_in_flight(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    names = [f"line {number}" for number in range(300)]
    batch = acme.begin(*(request(name, "delay=0.02") for name in names))
    first = start()
    for _ in range(2):
        seen = gateway.answered.total()
        wait_until(lambda: gateway.answered.total() >= seen + 60, 120)  # noqa: B023 - waited for in this round
        first.send_signal(signal.SIGKILL)
        first.wait()
        Batch.objects.filter(pk=batch.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        first = start()
    done = over(batch)
    assert (done.status, done.num_completed, done.num_failed) == ("completed", 300, 0)
    assert {one["custom_id"] for one in rows_of(done.output_file)} == set(names)
    repeated = gateway.asked.total() - len(names)
    assert repeated <= 2 * MOST  # what has an answer is in flight until it is on the disk
    assert done.fence == 3
    assert ApiKey.objects.filter(internal=True, revoked_at=None).count() == 0


def test_a_cancelled_batch_keeps_what_was_answered_and_names_the_rest(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    held = [request(f"held {number}", "hold=1") for number in range(3)]
    batch = acme.begin(request("first"), *held, *(request(f"late {number}", "hold=1") for number in range(60)))
    start()
    wait_until(lambda: gateway.answered["first"] and gateway.num_open, 120)
    assert acme.post(f"/v1/batches/{batch.pk}/cancel")["status"] == "cancelling"
    assert acme.post(f"/v1/batches/{batch.pk}/cancel")["status"] == "cancelling"
    for _ in range(2):  # the holder's beats: after the second one it has seen the first one's answer
        lease = row(batch).lease_expires_at
        wait_until(lambda: row(batch).lease_expires_at != lease, 120)  # noqa: B023 - waited for in this round
    gateway.released.set()
    done = over(batch)
    answers, errors = rows_of(done.output_file), rows_of(done.error_file)
    assert done.status == "cancelled"
    assert "first" in {one["custom_id"] for one in answers}
    assert len(answers) + len(errors) == 64
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}
    assert len(answers) == gateway.answered.total()
    assert done.cancelled_at is not None
    assert done.cancelling_at is not None


def test_a_batch_that_was_not_begun_is_cancelled_without_files(acme: Caller, start: Start) -> None:
    batch = acme.begin(request("one"))
    acme.post(f"/v1/batches/{batch.pk}/cancel")
    start()
    done = over(batch)
    assert (done.status, done.output_file, done.error_file) == ("cancelled", None, None)


def test_a_batch_that_expires_has_its_answers_and_an_error_for_each_other_line(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    batch = acme.begin(request("done"), *(request(f"busy {number}", "busy=9999") for number in range(5)))
    start()
    wait_until(lambda: gateway.answered["done"] and gateway.asked["busy 0"] > 1, 120)
    Batch.objects.filter(pk=batch.pk).update(expires_at=timezone.now())
    done = over(batch)
    assert (done.status, done.num_completed, done.num_failed) == ("expired", 1, 5)
    assert [one["custom_id"] for one in rows_of(done.output_file)] == ["done"]
    assert {one["error"]["code"] for one in rows_of(done.error_file)} == {"batch_expired"}
    assert done.expired_at is not None


def test_a_batch_of_a_tenant_that_is_switched_off_fails_and_keeps_its_answers(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    batch = acme.begin(request("done"), request("late", "busy=9999"))
    start()
    wait_until(lambda: gateway.answered["done"] and gateway.asked["late"], 120)
    Tenant.objects.filter(pk="acme").update(is_active=False)
    done = over(batch)
    assert (done.status, done.errors[0]["code"]) == ("failed", "tenant_suspended")
    assert [one["custom_id"] for one in rows_of(done.output_file)] == ["done"]
    assert {one["error"]["code"] for one in rows_of(done.error_file)} == {"tenant_suspended"}


def test_a_batch_whose_key_was_revoked_fails(acme: Caller, gateway: FakeGateway, start: Start) -> None:
    batch = acme.begin(request("one"))
    revoke(acme.key)
    start()
    done = over(batch)
    assert (done.status, done.errors[0]["code"], gateway.asked.total()) == ("failed", "key_revoked", 0)
    assert done.failed_at is not None


def test_a_file_with_faults_fails_with_each_of_them_and_asks_nothing(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    batch = acme.begin(request("one"), request("one"), request("two", method="GET"))
    start()
    wait_until(lambda: row(batch).status == "failed", 120)
    told = acme.get(f"/v1/batches/{batch.pk}")
    assert [(one["code"], one["line"], one["param"]) for one in told["errors"]["data"]] == [
        ("duplicate_custom_id", 2, "custom_id"), ("invalid_method", 3, "method"),
    ]  # fmt: skip
    assert gateway.asked.total() == 0


def test_a_gateway_that_is_away_is_waited_for(acme: Caller, gateway: FakeGateway, start: Start) -> None:
    gateway.stop()
    batch = acme.begin(request("one"))
    start()
    wait_until(lambda: "does not answer" in row(batch).note, 120)
    gateway.start(gateway.port)
    done = over(batch)
    assert (done.status, done.num_completed, done.note) == ("completed", 1, "")


def test_it_never_has_many_more_at_once_than_the_appliance_takes(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    gateway.max_open = 4
    batch = acme.begin(*(request(str(number), "delay=0.01") for number in range(150)))
    start()
    done = over(batch)
    assert (done.status, done.num_completed) == ("completed", 150)
    assert gateway.most_open <= 2 * gateway.max_open


def test_a_process_that_is_told_to_stop_leaves_the_batch_to_the_next_at_once(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    batch = acme.begin(*(request(str(number), "hold=1") for number in range(5)))
    process = start()
    wait_until(lambda: gateway.num_open, 120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    left = row(batch)
    assert (left.status, left.lease_expires_at) == ("in_progress", None)
    assert ApiKey.objects.filter(internal=True, revoked_at=None).count() == 0
    gateway.released.set()
    start()
    assert over(batch).num_completed == 5


def test_a_lease_that_ran_out_while_the_database_was_away_is_not_taken_by_the_process_that_works_on_the_batch(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    batch = acme.begin(request("one", "hold=1"))
    start()
    wait_until(lambda: gateway.num_open, 120)
    for _ in range(5):
        Batch.objects.filter(pk=batch.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        wait_until(lambda: Batch.objects.filter(pk=batch.pk, lease_expires_at__gt=timezone.now()).exists(), 120)
    gateway.released.set()
    done = over(batch)
    assert (done.status, done.fence, gateway.asked["one"]) == ("completed", 1, 1)


def test_lines_whose_answers_are_missing_at_the_end_are_asked_again(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    batch = acme.begin(request("one"), request("two"))
    file = ResultFile(batch_dir("acme", batch.pk), 0)
    file.append([failed(2, "two", "made_up", "")])
    file.close()
    left = files.path(batch.input_file).with_name(f".{batch.pk}-0-output")
    left.write_bytes(b"of a holder that was killed")
    Batch.objects.filter(pk=batch.pk).update(status="finalizing", num_lines=2, model="tiny-coder")
    start()
    done = over(batch)
    assert (done.status, done.num_completed, done.num_failed) == ("completed", 1, 1)
    assert [one["custom_id"] for one in rows_of(done.output_file)] == ["one"]
    assert gateway.asked.total() == 1
    assert not left.exists()


def test_what_a_killed_process_left_of_a_batch_that_is_over_is_removed(acme: Caller, start: Start) -> None:
    batch = acme.begin(request("one"))
    Batch.objects.filter(pk=batch.pk).update(status="completed")
    left = batch_dir("acme", batch.pk)
    left.mkdir(parents=True)
    start()
    wait_until(lambda: not left.exists(), 120)


def test_an_output_file_is_listed_downloaded_and_deleted_but_an_input_file_is_kept_while_it_is_needed(
    acme: Caller, gateway: FakeGateway, start: Start
) -> None:
    batch = acme.begin(request("one", "hold=1"))
    refusal = acme.call("DELETE", f"/v1/files/{batch.input_file_id}")
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (400, "file_in_use")  # type: ignore[attr-defined]
    gateway.released.set()
    start()
    done = over(batch)
    (listed,) = acme.get("/v1/files?purpose=batch_output")["data"]
    assert (listed["id"], listed["filename"]) == (done.output_file_id, f"{batch.pk}_output.jsonl")
    assert done.output_file is not None
    path = files.path(done.output_file)
    assert path.parent == Path(settings.ENV.data_dir) / "files" / "acme"
    assert not list(path.parent.glob(".*"))
    response = acme.call("GET", f"/v1/files/{listed['id']}/content")
    assert b"".join(response.streaming_content) == path.read_bytes()  # type: ignore[attr-defined]
    assert answered_deleted(acme, listed["id"])
    assert answered_deleted(acme, batch.input_file_id)


def answered_deleted(acme: Caller, file_id: str) -> bool:
    return acme.call("DELETE", f"/v1/files/{file_id}").status_code == 200
