"""The console in a real Chromium, as an operator and as a tenant's person, against the running appliance."""

from __future__ import annotations

import openai
import pytest
from playwright.sync_api import Page, expect

from tests.system.appliance import DEMO, Appliance, until
from tests.system.chromium import PICTURES, operator

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.browser]


def test_the_operator_sees_the_replica_the_rate_and_that_very_request(page: Page, appliance: Appliance) -> None:
    appliance.wait_ready()
    client = openai.OpenAI(base_url=appliance.facts["base_url"], api_key=appliance.facts["api_key"], max_retries=0)
    raw = client.chat.completions.with_raw_response.create(
        model=DEMO, messages=[{"role": "user", "content": "Count."}], max_tokens=200, stream=True
    )
    request_id = raw.headers["x-request-id"]
    assert sum(1 for _ in raw.parse()) > 10
    until(
        lambda: appliance.sql("SELECT 1 FROM ledger_ledgerentry WHERE request_id = %s", request_id),
        bool,
        10,
    )

    operator(page, appliance)
    expect(page.get_by_role("row", name=f"{DEMO}/0").filter(has_text="ready")).to_be_visible()
    expect(page.get_by_text("tokens/s").first).to_be_visible()
    rate = page.locator("main").inner_text()
    assert "Input" in rate
    assert "Output" in rate
    assert float(appliance.sql("SELECT max(output_tps) FROM fleet_sample")[0][0]) > 1
    latencies = "SELECT max(ttft_p50_ms), max(ttft_p99_ms), max(tpot_p50_ms), max(tpot_p99_ms) FROM fleet_sample"
    ttft_p50, ttft_p99, tpot_p50, tpot_p99 = until(lambda: appliance.sql(latencies)[0], all, 20)
    assert 0 < ttft_p50 <= ttft_p99
    assert 0 < tpot_p50 <= tpot_p99 < ttft_p99 + 10_000
    expect(page.locator("body")).to_contain_text(request_id[:10])
    page.screenshot(path=PICTURES / "overview.png", full_page=True)

    page.goto("/usage/")
    expect(page.locator("body")).to_contain_text(request_id[:10])
    expect(page.locator("body")).to_contain_text("demo")
    page.screenshot(path=PICTURES / "usage.png", full_page=True)


def test_a_key_made_in_the_console_works_until_it_is_revoked_there(page: Page, appliance: Appliance) -> None:
    operator(page, appliance)
    page.goto("/tenants/demo/keys/")
    page.locator("#create").get_by_label("Name").fill("from the browser")
    page.locator("#create button.primary").click()
    key = page.locator("#new-key").inner_text()
    until(lambda: appliance.request("GET", "/v1/models", key=key)[0], lambda status: status == 200, 20)
    page.screenshot(path=PICTURES / "key-created.png", full_page=True)
    page.goto("/tenants/demo/keys/")
    assert key not in page.content(), "a key is shown once"
    page.get_by_role("row", name="from the browser").get_by_role("link", name="Revoke").first.click()
    page.screenshot(path=PICTURES / "key-revoke.png", full_page=True)
    page.locator("button.danger-button").click()
    until(lambda: appliance.request("GET", "/v1/models", key=key)[0], lambda status: status == 401, 20)


def test_it_is_readable_on_a_phone(page: Page, appliance: Appliance) -> None:
    operator(page, appliance)
    page.set_viewport_size({"width": 390, "height": 844})
    for address in ("/", "/serving/", "/usage/"):
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"{address} is {wide} px wide"
        page.screenshot(path=PICTURES / f"phone-{address.strip('/') or 'overview'}.png", full_page=True)
