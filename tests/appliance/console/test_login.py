"""Log-in: the throttle, constant words, no open redirect."""

from __future__ import annotations

import pytest
from django.test import Client

from appliance.console import throttle
from tests.appliance.console.cast import PASSWORD, Cast


def _try(client: Client, name: str, password: str, address: str = "10.0.0.1", **more: str) -> int:
    data = {"username": name, "password": password, **more}
    return client.post("/login/", data, REMOTE_ADDR="", HTTP_X_FORWARDED_FOR=address).status_code


def test_it_lets_the_right_password_in(cast: Cast) -> None:
    assert _try(Client(), "owner", PASSWORD) == 302


def test_it_says_the_same_for_a_wrong_name_and_a_wrong_password(cast: Cast) -> None:
    texts = set()
    for name in ("owner", "nobody-here"):
        page = Client().post("/login/", {"username": name, "password": "wrong"}).content.decode()
        texts.add(page.split('role="alert">')[1].split("</p>")[0])
    assert len(texts) == 1


def test_it_refuses_even_the_right_password_after_ten_failures(cast: Cast) -> None:
    client = Client()
    for _ in range(throttle.ATTEMPTS):
        assert _try(client, "owner", "wrong") == 200
    assert _try(client, "owner", PASSWORD) == 200
    page = client.post(
        "/login/", {"username": "OWNER ", "password": PASSWORD}, REMOTE_ADDR="", HTTP_X_FORWARDED_FOR="10.0.0.1"
    )
    assert "Too many failed attempts" in page.content.decode()


def test_it_throttles_nobody_else(cast: Cast) -> None:
    for _ in range(throttle.ATTEMPTS + 1):
        _try(Client(), "owner", "wrong")
    assert _try(Client(), "owner", PASSWORD, address="10.0.0.2") == 302
    assert _try(Client(), "developer", PASSWORD) == 302


def test_it_forgets_failures_after_a_success(cast: Cast) -> None:
    for _ in range(3):
        for _ in range(throttle.ATTEMPTS - 1):
            _try(Client(), "owner", "wrong")
        assert _try(Client(), "owner", PASSWORD) == 302


def test_it_believes_no_forwarded_address_from_tcp(cast: Cast) -> None:
    for number in range(throttle.ATTEMPTS + 1):
        forged = f"10.1.1.{number}"
        page = Client().post("/login/", {"username": "owner", "password": "wrong"}, HTTP_X_FORWARDED_FOR=forged)
    assert "Too many failed attempts" in page.content.decode()


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_does_not_lead_elsewhere(cast: Cast, target: str) -> None:
    response = Client().post("/login/", {"username": "owner", "password": PASSWORD, "next": target})
    assert response["Location"] == "/"


def test_it_logs_out_by_post_only(cast: Cast) -> None:
    client = cast.client("owner")
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").status_code == 302
    assert client.get("/tenants/acme/").status_code == 302


def test_it_has_one_login_for_the_record_editor_too(cast: Cast) -> None:
    response = Client().get("/admin/", follow=True)
    assert response.redirect_chain[-1][0].startswith("/login/?next=")


def test_it_needs_the_form_token(cast: Cast) -> None:
    response = Client(enforce_csrf_checks=True).post("/login/", {"username": "owner", "password": PASSWORD})
    assert response.status_code == 403
    assert "form" in response.content.decode()


def test_it_keeps_the_session_cookie_from_scripts(cast: Cast) -> None:
    response = Client().post("/login/", {"username": "owner", "password": PASSWORD})
    cookie = response.cookies["coderack_session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
