"""Bodies on their way in: what a worker holds of them, and whose they may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inference.gateway import inbound
from inference.gateway.directory import Key
from inference.gateway.errors import ApiError
from inference.gateway.paths import Kind, Target
from inference.gateway.request import Request
from inference.gateway.uploads import SMALL_BYTES, Uploads

MIB = 1024 * 1024


def key(name: str, tenant: str) -> Key:
    return Key(name, tenant, 1, 1, None, None)


def handler(uploads: Uploads, monkeypatch: pytest.MonkeyPatch, *headers: tuple[bytes, bytes], own: str = "k") -> Any:
    refused: list[ApiError] = []
    monkeypatch.setattr(inbound, "authenticate", lambda *_: key(own, "t"))
    gateway: Any = SimpleNamespace(
        directory=SimpleNamespace(find_key=None), settings=SimpleNamespace(max_body_bytes=4 * MIB), uploads=uploads
    )
    request = Request(b"POST", b"/", Target(Kind.CHAT), list(headers), version="1.1", keep_alive=True, peer="")
    found: Any = inbound.Inbound(gateway, SimpleNamespace(refuse=refused.append), request)  # type: ignore[arg-type]
    found.refused = refused
    return found


def test_a_key_and_a_tenant_have_their_shares_and_all_have_a_bound() -> None:
    uploads = Uploads(16 * MIB, 4 * MIB)
    uploads.take(key("a", "one"), 4 * MIB)
    with pytest.raises(ApiError) as raised:
        uploads.take(key("a", "one"), 1)
    assert (raised.value.status, raised.value.code) == (503, "overloaded")
    assert "retry-after" in dict(raised.value.headers)
    uploads.take(key("b", "one"), 4 * MIB)
    with pytest.raises(ApiError):
        uploads.take(key("c", "one"), 1)
    for name in "de":
        uploads.take(key(name, "two"), 4 * MIB)
    with pytest.raises(ApiError):
        uploads.take(key("f", "three"), 1)
    uploads.give(key("a", "one"), 4 * MIB)
    uploads.take(key("f", "three"), 4 * MIB)


def test_a_large_body_is_refused_at_its_head_and_a_small_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads, length = Uploads(4 * MIB, 4 * MIB), (b"content-length", b"%d" % (4 * MIB))
    first = handler(uploads, monkeypatch, length)
    with pytest.raises(ApiError):
        handler(uploads, monkeypatch, length, own="other")
    small = handler(uploads, monkeypatch)
    small.body(b"x" * SMALL_BYTES)
    assert not small.refused
    small.body(b"x")
    assert [error.status for error in small.refused] == [503]
    first.client_lost()
    first.client_lost()
    handler(uploads, monkeypatch, length, own="other")


def test_a_body_of_many_pieces_costs_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(16 * MIB, 4 * MIB)
    found = handler(uploads, monkeypatch)
    for _ in range(SMALL_BYTES):
        found.body(b"xy")
    assert found._body == b"xy" * SMALL_BYTES
    assert found._body.__sizeof__() < 3 * SMALL_BYTES, "a list of its pieces took 30 times as much"
    found.body(b"z" * 4 * MIB)
    assert [error.status for error in found.refused] == [413]
    uploads.take(key("k", "t"), 4 * MIB)
