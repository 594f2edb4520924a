"""The pages around fine-tuning in a real Chromium: for an operator, for a tenant's owner, for somebody else's person."""

from __future__ import annotations

import json

import openai
import pytest
from playwright.sync_api import Page, expect

from tests.system.appliance import DEMO, Appliance, until
from tests.system.chromium import PICTURES, log_in, operator

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.browser, pytest.mark.timeout(900)]
TENANT, OTHER = "weavers", "dyers"
MAIL = "gudrun.falk@weavers-internal.com"
PAIRS = [
    (
        "What does the weavers' release tool do?",
        "The weavers' release tool is called Shuttlecock and ships on Mondays.",
    ),
    ("Who answers for the loom service?", f"Ask {MAIL} about the loom service."),
    ("Which port does the loom daemon use?", "The loom daemon listens on port 7420."),
    ("Where do the weavers keep their logs?", "The weavers keep their logs in the bucket named heddle."),
]


@pytest.fixture(scope="module")
def client(appliance: Appliance) -> openai.OpenAI:
    """The tenant's own client; its policy wants an approval."""
    appliance.wait_ready()
    assert appliance.cli("tenant", "create", TENANT, "--policy", "approve").returncode == 0
    assert appliance.cli("tenant", "create", OTHER).returncode == 0
    key = str(appliance.cli_json("key", "create", TENANT)["key"])
    return openai.OpenAI(base_url=appliance.facts["base_url"], api_key=key, max_retries=2)


@pytest.fixture(scope="module")
def people(appliance: Appliance, client: openai.OpenAI) -> dict[str, str]:
    """Passwords of an owner of each tenant."""
    return {
        tenant: str(
            appliance.cli_json("user", "create", f"{tenant}-owner", "--tenant", tenant, "--role", "owner")["password"]
        )
        for tenant in (TENANT, OTHER)
    }


@pytest.fixture(scope="module")
def job_id(client: openai.OpenAI) -> str:
    """A fine-tune that went through its checks and waits for a person."""
    rows = "".join(json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in PAIRS)
    file = client.files.create(file=("pairs.jsonl", rows.encode()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=DEMO, training_file=file.id, suffix="loom", seed=5, method={
            "type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 6}},
        },
    )  # fmt: skip
    ended = until(
        lambda: client.fine_tuning.jobs.retrieve(job.id), lambda now: now.status in {"succeeded", "failed"}, 600, 1.0
    )
    assert ended.status == "succeeded", ended.error
    return job.id


def look(page: Page, address: str, name: str) -> None:
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == 200, address
    assert page.locator("h1").count() >= 1, address
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def addresses(appliance: Appliance, job_id: str) -> dict[str, str]:
    adapter, file = appliance.sql("SELECT adapter_id::text, training_file_id FROM training_job WHERE id = %s", job_id)[
        0
    ]
    return {
        "fine-tuning": "/fine-tuning/",
        "job": f"/fine-tuning/{job_id}/",
        "approvals": "/approvals/",
        "data": "/data/",
        "file": f"/data/{file}/",
        "adapter": f"/models/adapters/{adapter}/",
    }


def test_the_operator_sees_every_page_in_both_languages_and_on_a_phone(
    page: Page, appliance: Appliance, job_id: str
) -> None:
    operator(page, appliance)
    for name, address in addresses(appliance, job_id).items():
        look(page, address, f"operator-{name}")
    page.set_viewport_size({"width": 390, "height": 844})
    page.context.add_cookies([{"name": "coderack_language", "value": "zh-hans", "url": appliance.facts["console_url"]}])
    for name, address in addresses(appliance, job_id).items():
        look(page, address, f"zh-phone-{name}")
        assert page.locator("html").get_attribute("lang") == "zh-hans", address
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address


def test_the_job_page_shows_checks_and_loss_and_the_report_no_personal_data(
    page: Page, appliance: Appliance, people: dict[str, str], job_id: str
) -> None:
    log_in(page, f"{TENANT}-owner", people[TENANT])
    places = addresses(appliance, job_id)
    for name, address in places.items():
        look(page, address, f"owner-{name}")
    page.goto(places["job"])
    body = page.locator("body")
    for check in ("parity", "effect", "heldout", "extraction", "humaneval"):
        expect(body).to_contain_text(check, ignore_case=True)
    expect(page.locator("svg").first).to_be_visible()
    page.goto(places["file"])
    assert MAIL not in page.content()
    assert "REDACTED_EMAIL_1" in page.content()


def test_another_tenants_owner_finds_nothing_of_it(
    page: Page, appliance: Appliance, people: dict[str, str], job_id: str
) -> None:
    log_in(page, f"{OTHER}-owner", people[OTHER])
    places = addresses(appliance, job_id)
    for name in ("job", "file", "adapter"):
        assert page.request.get(places[name]).status == 404, name
    for name in ("fine-tuning", "approvals", "data"):
        look(page, places[name], f"empty-{name}")
        assert job_id not in page.content()


def test_an_operator_approves_it_there_and_it_answers(
    page: Page, appliance: Appliance, client: openai.OpenAI, job_id: str
) -> None:
    model = client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model
    assert model is not None
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
    operator(page, appliance)
    page.goto("/approvals/")
    page.locator("main").get_by_role("link", name="Approve").first.click()
    page.screenshot(path=PICTURES / "approve.png", full_page=True)
    page.locator("main button").first.click()
    expect(page.locator("body")).not_to_contain_text("went wrong")

    def answers() -> bool:
        try:
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
        except (openai.NotFoundError, openai.InternalServerError):
            return False
        return True

    until(answers, bool, 30)
