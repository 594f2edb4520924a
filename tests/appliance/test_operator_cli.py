"""`coderack plan`, `tenant`, `user` and `key`: what they write, print and refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.first_rows import ensure_base
from appliance.tenants.models import ApiKey, Membership, Plan, Tenant, User
from ops.cli.main import app
from ops.cli.printing import Exit

pytestmark = pytest.mark.usefixtures("base")


@pytest.fixture
def base(db: None) -> None:
    ensure_base()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_plan_has_the_limits_and_prices_that_were_given() -> None:
    shown = answer(
        "plan", "create", "small", "--max-context-tokens", "2048", "--default-max-tokens", "64", "--allowed-model", "a",
        "--allowed-model", "b", "--input-price", "1.25", "--cached-price", "0.000001", "--output-price", "3", "--currency",
        "USD", "--max-file-mib", "8", "--max-files", "5", "--max-active-jobs", "1",
    )  # fmt: skip
    plan = Plan.objects.get(name="small")
    assert (plan.max_context_tokens, plan.default_max_tokens, plan.allowed_models) == (2048, 64, ["a", "b"])
    assert (plan.input_price_micros, plan.cached_price_micros, plan.output_price_micros) == (1_250_000, 1, 3_000_000)
    assert (plan.currency, plan.max_file_bytes, plan.max_files, plan.max_active_jobs) == ("USD", 8 << 20, 5, 1)
    assert shown["input_price"] == "1.25"
    assert shown["cached_price"] == "0.000001"


def test_a_plan_without_options_is_the_standard_one() -> None:
    assert run("plan", "create", "plain").exit_code == 0
    plain, standard = answer("plan", "list")
    assert {**plain, "name": ""} == {**standard, "name": ""}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--max-context-tokens", "15"), "max_context_tokens"),
        (("--max-context-tokens", "163841"), "max_context_tokens"),
        (("--default-max-tokens", "0"), "default_max_tokens"),
        (("--currency", "yuan"), "currency"),
        (("--currency", "cny"), "currency"),
        (("--input-price", "-1"), "input-price"),
        (("--input-price", "cheap"), "cheap"),
        (("--output-price", "0.0000001"), "output-price"),
        (("--cached-price", "NaN"), "cached-price"),
        (("--max-file-mib", "0"), "max-file-mib"),
        (("--max-active-jobs", "99999999"), "max_active_jobs"),
    ],
)
def test_a_plan_that_can_not_be_is_refused_and_the_value_named(options: tuple[str, str], word: str) -> None:
    done = run("plan", "create", "odd", *options)
    assert done.exit_code == Exit.USAGE
    assert word in done.output
    assert not Plan.objects.filter(name="odd").exists()


def test_two_plans_do_not_have_one_name() -> None:
    done = run("plan", "create", "standard")
    assert done.exit_code == Exit.USAGE
    assert "name" in done.output


def test_a_tenant_has_its_policy_and_keeps_it_until_it_is_changed() -> None:
    assert answer("tenant", "create", "acme", "--policy", "approve")["policy"] == "approve"
    assert answer("tenant", "create", "other")["policy"] == "auto"
    assert Tenant.objects.get(id="acme").adapter_policy == "approve"
    assert run("tenant", "set-policy", "acme", "auto").exit_code == 0
    assert {row["id"]: row["policy"] for row in answer("tenant", "list")} == {
        "acme": "auto", "other": "auto", "system": "auto",
    }  # fmt: skip


def test_it_does_not_change_the_policy_of_nobody_or_to_nothing() -> None:
    assert run("tenant", "set-policy", "nobody", "auto").exit_code == Exit.NOT_FOUND
    assert run("tenant", "set-policy", "system", "sometimes").exit_code == Exit.USAGE
    assert run("tenant", "create", "acme", "--policy", "never").exit_code == Exit.USAGE


def test_a_suspended_tenant_is_off_until_it_is_resumed_and_the_audit_log_says_who_did_it() -> None:
    run("tenant", "create", "acme")
    assert answer("tenant", "suspend", "acme")["active"] is False
    assert not Tenant.objects.get(id="acme").is_active
    assert run("tenant", "suspend", "acme").exit_code == 0  # a second time changes nothing and leaves no entry
    assert answer("tenant", "resume", "acme")["active"] is True
    assert Tenant.objects.get(id="acme").is_active
    acts = [row["action"] for row in answer("audit", "list", "--tenant", "acme")]
    assert acts == ["tenant.resume", "tenant.suspend", "tenant.create"]


@pytest.mark.parametrize(("tenant", "code"), [("nobody", Exit.NOT_FOUND), ("system", Exit.USAGE)])
def test_it_suspends_neither_nobody_nor_the_one_that_pays_for_canaries(tenant: str, code: Exit) -> None:
    assert run("tenant", "suspend", tenant).exit_code == code
    assert Tenant.objects.get(id="system").is_active


def test_what_was_made_or_changed_is_the_row_as_it_is_now() -> None:
    made = answer("tenant", "create", "acme", "--name", "Acme")
    assert made == {
        "id": "acme",
        "name": "Acme",
        "plan": "standard",
        "policy": "auto",
        "signoff": "optional",
        "active": True,
    }
    assert answer("tenant", "set-policy", "acme", "approve") == made | {"policy": "approve"}
    key = answer("key", "create", "acme", "--name", "ci")
    revoked = answer("key", "revoke", key["id"])
    assert revoked["revoked"]
    assert {**revoked, "revoked": None} == {name: value for name, value in key.items() if name != "key"}
    assert answer("key", "revoke", key["id"]) == revoked


def test_a_persons_password_is_printed_once_and_works() -> None:
    run("tenant", "create", "acme")
    made = answer("user", "create", "kim", "--tenant", "acme", "--role", "owner")
    user = User.objects.get(username="kim")
    assert user.check_password(made["password"])
    assert not user.is_staff
    assert Membership.objects.get(user=user).role == "owner"
    assert made["password"] not in run("user", "list").output


def test_an_operator_needs_no_tenant_and_everybody_else_does() -> None:
    assert answer("user", "create", "olga", "--operator")["operator"] is True
    assert User.objects.get(username="olga").is_staff
    refused = run("user", "create", "kim")
    assert refused.exit_code == Exit.USAGE
    assert "--tenant" in refused.output
    assert not User.objects.filter(username="kim").exists()


def test_it_refuses_a_person_twice_or_of_no_tenant() -> None:
    run("user", "create", "olga", "--operator")
    assert run("user", "create", "olga", "--operator").exit_code == Exit.USAGE
    assert run("user", "create", "kim", "--tenant", "nobody").exit_code == Exit.NOT_FOUND
    assert run("user", "create", "a b", "--operator").exit_code == Exit.USAGE


def test_a_key_knows_the_person_it_was_made_for() -> None:
    run("tenant", "create", "acme")
    run("user", "create", "kim", "--tenant", "acme")
    made = answer("key", "create", "acme", "--user", "kim")
    assert str(ApiKey.objects.get(id=made["id"]).created_by) == "kim"
    assert ApiKey.objects.get(id=answer("key", "create", "acme")["id"]).created_by is None
    assert run("key", "create", "acme", "--user", "nobody").exit_code == Exit.NOT_FOUND


LIMITS = (
    "--requests-per-minute", "60", "--tokens-per-minute", "90000", "--max-concurrency", "4", "--tokens-per-day", "1000000",
    "--tokens-per-month", "20000000", "--monthly-budget", "99.5", "--model-limit", "tiny-coder:requests_per_minute=6",
    "--model-limit", "ft:odd=name:tokens_per_minute=700",
)  # fmt: skip
SHOWN = {
    "requests_per_minute": 60, "tokens_per_minute": 90000, "max_concurrency": 4, "tokens_per_day": 1_000_000,
    "tokens_per_month": 20_000_000, "monthly_budget": "99.5",
    "model_limits": {"tiny-coder": {"requests_per_minute": 6}, "ft:odd=name": {"tokens_per_minute": 700}},
}  # fmt: skip


def test_a_plan_has_the_limits_in_time_that_were_given() -> None:
    made = answer("plan", "create", "small", *LIMITS)
    assert made | SHOWN == made
    assert Plan.objects.get(name="small").monthly_budget_micros == 99_500_000
    (small,) = [row for row in answer("plan", "list") if row["name"] == "small"]
    assert small == made


def test_a_limit_of_none_is_no_limit_and_one_that_is_not_named_stays() -> None:
    answer("plan", "create", "small", *LIMITS)
    names = ("requests-per-minute", "tokens-per-minute", "max-concurrency", "tokens-per-day", "tokens-per-month")
    nothing = [part for name in (*names, "monthly-budget") for part in (f"--{name}", "none")]
    changed = answer("plan", "set", "small", *nothing, "--model-limit", "tiny-coder:requests_per_minute=none")
    assert changed | dict.fromkeys(SHOWN) == changed | {"model_limits": None}
    assert changed["model_limits"] == {"ft:odd=name": {"tokens_per_minute": 700}}
    open_plan = answer("plan", "create", "open", *nothing)
    assert open_plan["requests_per_minute"] is None
    assert open_plan["max_concurrency"] is None


def test_a_plan_is_changed_where_it_was_asked_for_and_the_audit_log_says_from_what_to_what() -> None:
    made = answer("plan", "create", "small", "--requests-per-minute", "60", "--allowed-model", "a")
    changed = answer(
        "plan", "set", "small", "--requests-per-minute", "30", "--input-price", "2", "--max-file-mib", "8",
        "--allowed-model", "all", "--model-limit", "a:max_concurrency=2",
    )  # fmt: skip
    wanted = {"requests_per_minute": 30, "input_price": "2", "max_file_mib": 8.0, "allowed_models": None}
    assert changed == made | wanted | {"model_limits": {"a": {"max_concurrency": 2}}}
    entry = AuditEntry.objects.get(action="plan.change")
    assert entry.subject == "small"
    assert entry.details == {
        "requests_per_minute.before": 60, "requests_per_minute.after": 30, "max_file_bytes.after": 8 << 20,
        "max_file_bytes.before": 512 << 20, "input_price_micros.before": 1_000_000, "input_price_micros.after": 2_000_000,
        "allowed_models.before": ["a"], "allowed_models.after": None, "model_limits.before": "{}",
        "model_limits.after": '{"a": {"max_concurrency": 2}}',
    }  # fmt: skip


def test_a_plan_that_is_so_already_is_left_and_recorded_nowhere() -> None:
    answer("plan", "create", "small", "--requests-per-minute", "60")
    answer("plan", "set", "small", "--requests-per-minute", "60")
    assert not AuditEntry.objects.filter(action="plan.change").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--requests-per-minute", "0"), "requests-per-minute"),
        (("--requests-per-minute", "2147483648"), "requests-per-minute"),
        (("--tokens-per-minute", "many"), "tokens-per-minute"),
        (("--tokens-per-day", "-1"), "tokens-per-day"),
        (("--max-concurrency", "1.5"), "max-concurrency"),
        (("--monthly-budget", "-1"), "monthly-budget"),
        (("--model-limit", "a:requests_per_minute"), "model-limit"),
        (("--model-limit", "a:tokens_per_day=5"), "model-limit"),
        (("--model-limit", ":max_concurrency=5"), "model-limit"),
        (("--model-limit", "a:max_concurrency=0"), "model-limit"),
        (("--max-context-tokens", "15"), "max_context_tokens"),
    ],
)
def test_a_plan_is_not_changed_to_what_can_not_be(options: tuple[str, str], word: str) -> None:
    before = answer("plan", "list")
    done = run("plan", "set", "standard", *options)
    assert done.exit_code == Exit.USAGE
    assert word in done.output
    assert answer("plan", "list") == before
    assert run("plan", "set", "nothing", "--max-files", "1").exit_code == Exit.NOT_FOUND


def test_a_key_has_the_limits_that_were_given_beside_its_tenants() -> None:
    run("tenant", "create", "acme")
    limits = ("--requests-per-minute", "6", "--tokens-per-minute", "700", "--monthly-budget", "1.25")
    made = answer("key", "create", "acme", *limits)
    row = ApiKey.objects.get(id=made["id"])
    assert (row.requests_per_minute, row.tokens_per_minute, row.monthly_budget_micros) == (6, 700, 1_250_000)
    assert (made["requests_per_minute"], made["tokens_per_minute"], made["monthly_budget"]) == (6, 700, "1.25")
    free = answer("key", "create", "acme", "--requests-per-minute", "none")
    assert (free["requests_per_minute"], free["tokens_per_minute"], free["monthly_budget"]) == (None, None, None)
    listed = {key["id"]: key["monthly_budget"] for key in answer("key", "list", "acme")}
    assert listed == {made["id"]: "1.25", free["id"]: None}
    told = AuditEntry.objects.get(action="key.create", details__id=made["id"]).details
    assert told["requests_per_minute"] == 6
    assert run("key", "create", "acme", "--tokens-per-minute", "0").exit_code == Exit.USAGE


def test_a_keys_limits_are_changed_and_taken_away() -> None:
    run("tenant", "create", "acme")
    asked = (
        "--requests-per-minute", "6", "--max-concurrency", "2", "--tokens-per-minute", "700", "--tokens-per-day", "8000",
        "--tokens-per-month", "90000", "--monthly-budget", "1.25", "--allowed-model", "m", "--allowed-model", "editors",
    )  # fmt: skip
    made = answer("key", "create", "acme", *asked)
    names = ("requests_per_minute", "max_concurrency", "tokens_per_minute", "tokens_per_day", "tokens_per_month")
    assert [made[name] for name in names] == [6, 2, 700, 8000, 90000]
    assert (made["monthly_budget"], made["allowed_models"]) == ("1.25", ["m", "editors"])
    changed = answer(
        "key", "limits", made["prefix"], "--max-concurrency", "none", "--tokens-per-day", "9", "--allowed-model", "all"
    )
    assert [changed[name] for name in names] == [6, None, 700, 9, 90000]
    row = ApiKey.objects.get(id=made["id"])
    assert (row.max_concurrency, row.tokens_per_day, row.allowed_models) == (None, 9, None)
    told = AuditEntry.objects.get(action="key.limits").details
    assert (told["tokens_per_day.before"], told["tokens_per_day.after"], told["allowed_models.before"]) == (
        8000,
        9,
        ["m", "editors"],
    )
    assert "requests_per_minute.after" not in told
    shown = run("key", "limits", made["id"])
    assert "tokens_per_day 9" in shown.output
    assert AuditEntry.objects.filter(action="key.limits").count() == 1


def test_a_keys_limits_are_not_changed_to_what_can_not_be() -> None:
    run("tenant", "create", "acme")
    made = answer("key", "create", "acme")
    for option, value in (("--max-concurrency", "0"), ("--tokens-per-day", "x"), ("--allowed-model", "m" * 201)):
        assert run("key", "limits", made["id"], option, value).exit_code == Exit.USAGE
    assert run("key", "limits", "sk-cr-nobody", "--max-concurrency", "1").exit_code == Exit.NOT_FOUND
    run("key", "revoke", made["id"])
    assert run("key", "limits", made["id"], "--max-concurrency", "1").exit_code == Exit.NOT_FOUND
    assert ApiKey.objects.get(id=made["id"]).max_concurrency is None
