"""Every page of the console in a real Chromium, as an operator and as a tenant's people, in both languages.

The pages come from the routes, so that a new one without a visit fails here. What a page logs as an error, violations of the
Content-Security-Policy among it, fails the test (tests.system.chromium).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from appliance.env import REPO
from tests.system.appliance import DEMO, Appliance, until
from tests.system.chromium import PICTURES, log_in, operator

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.browser]
TENANT = "visitors"
NO_PAGE = {
    "login",
    "logout",
    "set_language",
    "tenant_policy",
    "alias_set",
    "alias_remove",
    "conversations_off",
    "job_pause",
    "job_resume",
    "file_sign",
    "file_unsign",
    "playground_key",
}
FILES = {
    "batch_file": "/batches/{batch}/input.jsonl",
    "erasure_file": "/erasures/{erasure}/certificate.json",
    "file_report_html": "/data/{file}/report.html",
    "file_report_json": "/data/{file}/report.json",
    "certificate_html": "/acceptance/{run}/certificate.html",
    "certificate_json": "/acceptance/{run}/certificate.json",
}
FOR_ALL = {
    "overview": "/",
    "playground": "/playground/?tenant={tenant}",
    "fine_tuning": "/fine-tuning/",
    "job": "/fine-tuning/{job}/",
    "data": "/data/",
    "file": "/data/{file}/",
    "erasures": "/erasures/",
    "erasure": "/erasures/{erasure}/",
    "batches": "/batches/",
    "batch": "/batches/{batch}/",
    "approvals": "/approvals/",
    "adapter": "/models/adapters/{adapter}/",
    "tenants": "/tenants/",
    "tenant": "/tenants/{tenant}/",
    "keys": "/tenants/{tenant}/keys/",
    "usage": "/usage/",
    "guide": "/guide/",
}
FOR_OWNERS = {
    "batch_cancel": "/batches/{batch}/cancel/",
    "job_cancel": "/fine-tuning/{job}/cancel/",
    "file_delete": "/data/{file}/delete/",
    "file_erase": "/data/{file}/erase/",
    "approval_approve": "/approvals/{adapter}/approve/",
    "approval_reject": "/approvals/{adapter}/reject/",
    "adapter_withdraw": "/models/adapters/{adapter}/withdraw/",
    "key_limits": "/tenants/{tenant}/keys/{key}/limits/",
    "key_revoke": "/tenants/{tenant}/keys/{key}/revoke/",
}
# What no operator sees who is not an owner.
FOR_OWNERS_ALONE = {
    "conversations": "/tenants/{tenant}/conversations/",
    "conversations_erase": "/tenants/{tenant}/conversations/erase/",
    "conversation": "/tenants/{tenant}/conversations/{conversation}/",
}
OWNERS_FILES = {"conversations_file": "/tenants/{tenant}/conversations.jsonl"}
FOR_OPERATORS = {
    "serving": "/serving/",
    "models": "/models/",
    "capacity": "/capacity/?model=deepseek-coder-v2-instruct&cards=8&card=h20-96&precision=fp8",
    "tenant_new": "/tenants/new/",
    "upgrades": "/upgrades/",
    "upgrade": "/upgrades/{upgrade}/",
    "acceptance": "/acceptance/",
    "acceptance_run": "/acceptance/{run}/",
    "audit": "/audit/",
}


@dataclass(frozen=True)
class Visit:
    """What there is to see, and the tenant's people with their passwords."""

    routes: set[str]
    ids: dict[str, str]
    people: dict[str, str]


def in_its_environment(appliance: Appliance, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.console_rows", *words], cwd=REPO, text=True, capture_output=True, check=False,
        env=appliance.environ | {"DJANGO_SETTINGS_MODULE": "appliance.settings"}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def visit(appliance: Appliance) -> Iterator[Visit]:
    appliance.wait_ready()
    appliance.new_tenant(TENANT)
    people = {
        role: str(
            appliance.cli_json("user", "create", f"{TENANT}-{role}", "--tenant", TENANT, "--role", role)["password"]
        )
        for role in ("owner", "developer")
    }
    made = json.loads(in_its_environment(appliance, "make", TENANT))
    yield Visit(set(made["routes"]), made["ids"], people)
    in_its_environment(appliance, "remove", TENANT)


def look(page: Page, addresses: dict[str, str], ids: dict[str, str], language: str) -> None:
    for name, address in addresses.items():
        answer = page.goto(address.format(**ids))
        assert answer is not None
        assert answer.status == 200, name
        assert page.locator("html").get_attribute("lang") == language, name
        assert page.locator("h1").inner_text().strip(), name


def in_both_languages(page: Page, appliance: Appliance, addresses: dict[str, str], ids: dict[str, str]) -> None:
    look(page, addresses, ids, "en")
    page.context.add_cookies([{"name": "coderack_language", "value": "zh-hans", "url": appliance.facts["console_url"]}])
    look(page, addresses, ids, "zh-hans")


def test_every_route_has_a_visit(visit: Visit) -> None:
    pages = set(FOR_ALL) | set(FOR_OWNERS) | set(FOR_OWNERS_ALONE) | set(FOR_OPERATORS)
    assert visit.routes == NO_PAGE | set(FILES) | set(OWNERS_FILES) | pages


def test_the_operator_visits_every_page(page: Page, appliance: Appliance, visit: Visit) -> None:
    operator(page, appliance)
    in_both_languages(page, appliance, FOR_ALL | FOR_OWNERS | FOR_OPERATORS | {"records": "/admin/"}, visit.ids)
    downloads(page, FILES, visit.ids)
    refused(page, FOR_OWNERS_ALONE | OWNERS_FILES, visit.ids)


def downloads(page: Page, addresses: dict[str, str], ids: dict[str, str]) -> None:
    for name, address in addresses.items():
        answer = page.request.get(address.format(**ids))
        assert answer.status == 200, name
        assert answer.headers["content-disposition"].startswith("attachment"), name


def test_an_owner_visits_the_tenants_pages_and_no_other(page: Page, appliance: Appliance, visit: Visit) -> None:
    log_in(page, f"{TENANT}-owner", visit.people["owner"])
    in_both_languages(page, appliance, FOR_ALL | FOR_OWNERS | FOR_OWNERS_ALONE, visit.ids)
    downloads(page, OWNERS_FILES, visit.ids)
    refused(page, FOR_OPERATORS, visit.ids)


def test_a_developer_visits_them_to_look(page: Page, visit: Visit) -> None:
    log_in(page, f"{TENANT}-developer", visit.people["developer"])
    look(page, FOR_ALL, visit.ids, "en")
    refused(page, FOR_OWNERS_ALONE | OWNERS_FILES, visit.ids)
    of_keys = {name: FOR_OWNERS[name] for name in ("key_limits", "key_revoke")}
    refused(page, FOR_OPERATORS | of_keys, visit.ids)


def refused(page: Page, addresses: dict[str, str], ids: dict[str, str]) -> None:
    for name, address in addresses.items():
        assert page.request.get(address.format(**ids)).status == 403, name


def test_a_developer_tries_a_model_in_the_playground(page: Page, appliance: Appliance, visit: Visit) -> None:
    log_in(page, f"{TENANT}-developer", visit.people["developer"])
    page.goto("/playground/")
    page.get_by_label("Model", exact=True).select_option(DEMO)
    page.get_by_label("Most tokens out").fill("24")
    page.get_by_label("Message").fill("Write <b>one</b> line of Python.")
    page.keyboard.press("Control+Enter")
    answer = page.locator(".said-model").first
    expect(answer).to_contain_text("tokens out", timeout=60_000)
    figures = answer.inner_text()
    for part in ("TTFT", "tokens/s", "tokens in"):
        assert part in figures
    said = re.search(r"(\d+) tokens out", figures)
    assert said
    assert page.locator("#play-talk b").count() == 0, "what was said is text"
    booked = until(lambda: ledger(appliance, answer.locator("code").inner_text()), bool, 10)
    assert booked == [(TENANT, int(said.group(1)))]
    page.screenshot(path=PICTURES / "playground.png", full_page=True)

    page.get_by_label("Most tokens out").fill("2000")
    page.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Message").fill("Write a long story about a compiler.")
    page.get_by_role("button", name="Send").click()
    second = page.locator(".said-model").first
    expect(second).to_contain_text("TTFT", timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    expect(second).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    live = "SELECT count(*) FROM tenants_apikey WHERE internal AND tenant_id = %s AND revoked_at IS NULL"
    until(lambda: appliance.sql(live, TENANT), lambda found: found == [(0,)], 20)


def ledger(appliance: Appliance, request_id: str) -> list[tuple[object, ...]]:
    return appliance.sql(
        "SELECT tenant_id, completion_tokens FROM ledger_ledgerentry WHERE request_id = %s", request_id
    )


def test_it_fills_in_the_middle_with_a_model_that_can(page: Page, visit: Visit, deepseek: str) -> None:
    log_in(page, f"{TENANT}-owner", visit.people["owner"])
    page.goto("/playground/")
    page.get_by_label("Model", exact=True).select_option(DEMO)
    expect(page.get_by_role("tab", name="Fill in the middle")).to_be_hidden()
    page.get_by_label("Model", exact=True).select_option(deepseek)
    page.get_by_role("tab", name="Fill in the middle").click()
    page.get_by_label("Most tokens out").fill("8")
    page.get_by_role("button", name="Fill in").click()
    filled = page.locator("#play-filled")
    expect(filled).to_contain_text("8 tokens out", timeout=60_000)
    assert filled.locator("ins").inner_text()
    page.screenshot(path=PICTURES / "playground-fim.png", full_page=True)
