"""`/v1/organization/usage/completions`: buckets in UTC, the ledger's own sums, nobody else's rows."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.ledger import buckets
from appliance.ledger.models import LedgerEntry
from appliance.tenants.keys import mint, revoke
from tests.appliance.api.callers import MODEL, Caller, refused
from tests.appliance.api.used import NOON, days, entry, pages, used

USAGE = "/v1/organization/usage/completions"
DAY = 86400
FIELDS = ("input_tokens", "input_cached_tokens", "output_tokens", "num_model_requests")
Rows = list[tuple[int, int, int, int, int]]


def figures(results: list[dict[str, Any]]) -> tuple[int, ...]:
    return tuple(sum(result[name] for result in results) for name in FIELDS)


def all_figures(found: list[dict[str, Any]]) -> tuple[int, ...]:
    return figures([result for bucket in found for result in bucket["results"]])


def test_it_has_openais_shape(acme: Caller) -> None:
    used(acme)
    used(acme, tokens=(10, 0, 3))
    answer = acme.get(f"{USAGE}?start_time={NOON - 43200}&end_time={NOON + 43200}")
    (bucket,) = answer.pop("data")
    assert answer == {"object": "page", "has_more": False, "next_page": None}
    (result,) = bucket.pop("results")
    assert bucket == {"object": "bucket", "start_time": NOON - 43200, "end_time": NOON + 43200}
    assert figures([result]) == (110, 40, 10, 2)
    assert result["object"] == "organization.usage.completions.result"
    nothing = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source")
    assert {name: result[name] for name in nothing} == dict.fromkeys(nothing)


@pytest.mark.parametrize(("width", "seconds", "least"), [("1m", 60, 60), ("1h", 3600, 24), ("1d", DAY, 7)])
def test_buckets_lie_on_whole_units_of_utc_and_the_ends_are_cut(
    acme: Caller, width: str, seconds: int, least: int
) -> None:
    start, end = NOON + 17, NOON + 3 * seconds + 5
    found = acme.get(f"{USAGE}?start_time={start}&end_time={end}&bucket_width={width}")["data"]
    assert (found[0]["start_time"], found[-1]["end_time"]) == (start, end)
    assert [one["end_time"] for one in found[:-1]] == [one["start_time"] for one in found[1:]]
    assert all(one["start_time"] % seconds == 0 for one in found[1:])
    assert [one["results"] for one in found] == [[]] * len(found)
    many = acme.get(f"{USAGE}?start_time={start}&bucket_width={width}")
    assert len(many["data"]) == least  # empty ones are there, and as many as OpenAI's default


def test_the_start_belongs_to_the_range_and_the_end_does_not(acme: Caller) -> None:
    for at in (NOON - 0.001, NOON, NOON + 9.999, NOON + 10):
        used(acme, at)
    assert all_figures(acme.get(f"{USAGE}?start_time={NOON}&end_time={NOON + 10}")["data"])[3] == 2


@pytest.mark.parametrize(
    "written", ["group_by=model&group_by=api_key_id", "group_by[]=api_key_id&group_by%5B%5D=model"]
)
def test_it_groups(acme: Caller, written: str) -> None:
    other, _ = mint(acme.tenant, "second")
    used(acme), used(acme, model="ft:x"), used(acme, key_id=str(other.pk)), used(acme, key_id=None)
    (_, day) = days(acme, f"{USAGE}?start_time=0&{written}")[:2]
    shown = {(one["model"], one["api_key_id"]): one["num_model_requests"] for one in day["results"]}
    own = str(acme.key.pk)
    assert shown == {(MODEL, own): 1, ("ft:x", own): 1, (MODEL, str(other.pk)): 1, (MODEL, None): 1}
    assert {one["project_id"] for one in day["results"]} == {None}


def test_what_the_ledger_has_no_column_for_is_named_as_openai_would(acme: Caller) -> None:
    used(acme)
    query = "&".join(f"group_by={name}" for name in ("project_id", "user_id", "batch", "service_tier", "api_source"))
    (result,) = days(acme, f"{USAGE}?start_time=0&{query}")[1]["results"]
    assert (result["project_id"], result["batch"], result["api_source"]) == ("acme", False, "unlabeled")
    assert (result["user_id"], result["service_tier"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ("models=tiny-coder", 2),
        ("models=ft:x", 1),
        ("models[]=ft:x&models[]=tiny-coder", 3),
        ("models=no-such", 0),
        ("models=%00", 0),
        ("project_ids=acme", 3),
        ("project_ids=rivals", 0),
        ("project_ids=rivals&project_ids=acme", 3),
        ("api_key_ids=no-such", 0),
        ("user_ids=anybody", 0),
        ("batch=true", 0),
        ("batch=false", 3),
    ],
)
def test_it_filters(acme: Caller, query: str, requests: int) -> None:
    used(acme), used(acme), used(acme, model="ft:x")
    assert all_figures(days(acme, f"{USAGE}?start_time=0&{query}"))[3] == requests


def test_keys_that_are_revoked_or_the_appliances_own_count_as_the_tenants(acme: Caller) -> None:
    revoked, _ = mint(acme.tenant, "old")
    internal, _ = mint(acme.tenant, "playground", internal=True)
    used(acme, key_id=str(revoked.pk)), used(acme, key_id=str(internal.pk))
    revoke(revoked)
    assert all_figures(days(acme, f"{USAGE}?start_time=0"))[3] == 2
    assert all_figures(days(acme, f"{USAGE}?start_time=0&api_key_ids={internal.pk}"))[3] == 1


def test_anothers_key_is_an_unknown_one(acme: Caller, rivals: Caller) -> None:
    used(rivals)
    used(acme, key_id=str(rivals.key.pk))  # even if the ledger had it so
    theirs = f"{USAGE}?start_time=0&api_key_ids={rivals.key.pk}"
    assert all_figures(days(rivals, theirs))[3] == 1
    used(acme)
    assert all_figures(days(acme, theirs))[3] == 1


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "start_time"),
        ("start_time=", "start_time"),
        ("start_time=yesterday", "start_time"),
        ("start_time=1.5", "start_time"),
        ("start_time=-1", "start_time"),
        ("start_time=1e9", "start_time"),
        ("start_time=99999999999999999999", "start_time"),
        ("start_time=10&end_time=10", "end_time"),
        ("start_time=10&end_time=9", "end_time"),
        ("start_time=10&end_time=x", "end_time"),
        ("start_time=10&bucket_width=1w", "bucket_width"),
        ("start_time=10&limit=0", "limit"),
        ("start_time=10&limit=32", "limit"),
        ("start_time=10&limit=169&bucket_width=1h", "limit"),
        ("start_time=10&limit=1441&bucket_width=1m", "limit"),
        ("start_time=10&group_by=tenant", "group_by"),
        ("start_time=10&group_by[]=model,batch", "group_by"),
        ("start_time=10&batch=perhaps", "batch"),
        ("start_time=10&page=", "page"),
        ("start_time=10&page=x", "page"),
        ("start_time=10&page=page_AAAAAAAAAAA", "page"),
        ("start_time=10&page=page_%00%FF", "page"),
        ("start_time=10&page=page_~~~~~~~~~~~~", "page"),
        ("start_time=10&page=" + "page_" + "A" * 5000, "page"),
        ("start_time=10&" + "&".join("models=m" for _ in range(201)), "models"),
    ],
)
def test_a_malformed_query_is_told_which_part(acme: Caller, query: str, param: str) -> None:
    error = refused(acme.call("GET", f"{USAGE}?{query}"), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_a_cursor_of_another_query_is_refused(acme: Caller) -> None:
    cursor = acme.get(f"{USAGE}?start_time={NOON}&bucket_width=1m")["next_page"]
    for query in (f"start_time={NOON}&bucket_width=1d", f"start_time={NOON + DAY}&bucket_width=1m"):
        assert refused(acme.call("GET", f"{USAGE}?{query}&page={cursor}"), 400)["param"] == "page"


def test_it_ends_with_the_bucket_of_this_moment(acme: Caller) -> None:
    now = int(time.time())
    used(acme, now)
    found = pages(acme, f"{USAGE}?start_time={now - 2 * DAY}&end_time={now + 10**9}&limit=1")
    assert len(found) == 3 or time.time() // DAY > now // DAY
    assert all_figures(found)[3] == 1
    assert acme.get(f"{USAGE}?start_time={now + 2 * DAY}") == {
        "object": "page", "data": [], "has_more": False, "next_page": None,
    }  # fmt: skip


def test_the_alias_without_v1_is_the_same(acme: Caller) -> None:
    used(acme)
    query = f"?start_time={NOON - DAY}&end_time={NOON + DAY}"
    for path in (USAGE.removeprefix("/v1"), f"{USAGE}/"):
        assert acme.get(path + query) == acme.get(USAGE + query)


def test_an_unknown_address_beside_it_is_json_too(acme: Caller) -> None:
    for path in ("/v1/organization/usage/embeddings", "/organization/usage", "/v1/organization/projects"):
        assert refused(acme.call("GET", path), 404)["type"] == "invalid_request_error"


def test_a_page_is_one_query_over_an_index(acme: Caller) -> None:
    LedgerEntry.objects.bulk_create(entry(acme, NOON + n * 600) for n in range(3000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ledger_ledgerentry")
    with CaptureQueriesContext(connection) as asked:
        days(acme, f"{USAGE}?start_time=0&group_by=model&bucket_width=1h")
    sums = [query["sql"] for query in asked if "ledger_ledgerentry" in query["sql"]]
    assert len(sums) == 1
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sums[0]}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index" in plan
    assert "finished_at >=" in plan
    assert "Seq Scan" not in plan


def test_a_page_with_too_many_groups_is_shorter_and_one_bucket_of_them_is_refused(
    acme: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in range(3):
        for n in range(3):
            used(acme, NOON + hour * 3600, model=f"model-{n}")
    path = f"{USAGE}?start_time={NOON}&end_time={NOON + 4 * 3600}&bucket_width=1h&group_by=model"
    whole = acme.get(path)["data"]
    for most in (9, 8, 6, 5, 4, 3):
        monkeypatch.setattr(buckets, "MAX_GROUPS", most)
        assert pages(acme, path) == whole
        assert len(acme.get(path)["data"]) == (4 if most == 9 else most // 3)
    monkeypatch.setattr(buckets, "MAX_GROUPS", 2)
    assert refused(acme.call("GET", path), 400)["code"] == "range_too_large"


def test_sums_that_take_too_long_are_refused_with_what_to_do(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    LedgerEntry.objects.bulk_create((entry(acme, NOON + n) for n in range(30_000)), batch_size=5000)
    monkeypatch.setattr(buckets, "TIMEOUT_MS", 1)
    error = refused(acme.call("GET", f"{USAGE}?start_time={NOON}"), 400)
    assert (error["param"], error["code"]) == ("limit", "range_too_large")
    assert "fewer" in error["message"]
    monkeypatch.undo()
    assert all_figures(acme.get(f"{USAGE}?start_time={NOON}")["data"])[3] == 30_000


row = st.tuples(
    st.integers(-2 * DAY, 2 * DAY),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.integers(0, 2),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(row, max_size=25), width=st.sampled_from(["1m", "1h", "1d"]), start=st.integers(-DAY, DAY),
    length=st.integers(1, 2 * DAY), limit=st.integers(20, 31), by=st.sets(st.sampled_from(["model", "api_key_id", "batch"])),
)  # fmt: skip
def test_the_buckets_of_any_width_sum_up_to_the_ledger(
    acme: Caller, rows: Rows, width: str, start: int, length: int, limit: int, by: set[str]
) -> None:
    LedgerEntry.objects.all().delete()
    kept = [
        entry(acme, NOON + at / 1.7, (most, min(part, most), out), model=f"m{n}") for at, most, part, out, n in rows
    ]
    LedgerEntry.objects.bulk_create(kept)
    begin, end = NOON + start, NOON + start + length
    within = [one for one in kept if begin <= one.finished_at.timestamp() < end]
    query = "".join(f"&group_by={name}" for name in sorted(by))
    longer = limit * (20 if width == "1m" else 1)
    found = pages(acme, f"{USAGE}?start_time={begin}&end_time={end}&bucket_width={width}&limit={longer}{query}")
    assert all_figures(found) == (
        sum(one.prompt_tokens for one in within), sum(one.cached_tokens for one in within),
        sum(one.completion_tokens for one in within), len(within),
    )  # fmt: skip
    assert (found[0]["start_time"], found[-1]["end_time"]) == (begin, end)
