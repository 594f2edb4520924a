"""`/v1/files`: taken in, listed, read back, deleted; refused ones leave nothing behind."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from appliance.api import upload
from appliance.training import files
from appliance.training.models import Dataset, StoredFile
from appliance.training.signing import report_digest
from tests.appliance.api.callers import ROWS, Caller, answered, refused


@pytest.fixture(autouse=True)
def _no_files_left(db: None) -> Iterator[None]:
    yield
    shutil.rmtree(files.tenant_dir("acme").parent, ignore_errors=True)


def kept(caller: Caller) -> list[Path]:
    folder = files.tenant_dir(caller.tenant.pk)
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_it_takes_a_file_in(acme: Caller) -> None:
    shown = answered(acme.upload())
    row = StoredFile.objects.get()
    assert shown == {
        "id": row.pk, "object": "file", "bytes": len(ROWS), "created_at": int(row.created_at.timestamp()),
        "filename": "rows.jsonl", "purpose": "fine-tune", "status": "uploaded", "status_details": None,
    }  # fmt: skip
    assert (row.tenant, row.key) == (acme.tenant, acme.key)
    assert files.path(row).read_bytes() == ROWS
    assert kept(acme) == [files.path(row)]


def test_its_name_survives_a_power_cut_before_a_row_speaks_of_it(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def synced(folder: Path) -> None:
        names = [path for path in folder.iterdir() if not path.name.startswith(".")]
        seen.append((len(names), StoredFile.objects.count()))

    monkeypatch.setattr(files, "sync_directory", synced)
    acme.file()
    assert seen == [(1, 0)]


def test_it_never_holds_a_file_whole_in_memory(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    store = files.store

    def watched(tenant: Any, key: Any, purpose: str, filename: str, chunks: Iterator[bytes]) -> StoredFile:
        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                sizes.append(len(chunk))
                yield chunk

        assert [path.name[:8] for path in kept(acme)] == [".upload-"]  # on the disk where it will stay
        return store(tenant, key, purpose, filename, counted())

    monkeypatch.setattr(files, "store", watched)
    acme.tenant.plan.max_file_bytes = 1 << 20
    acme.tenant.plan.save()
    data = ROWS * (900_000 // len(ROWS))
    assert answered(acme.upload(data=data))["bytes"] == len(data)
    assert max(sizes) <= 64 * 1024
    assert sum(sizes) == len(data)


@pytest.mark.parametrize(
    ("sent", "status", "param", "code"),
    [
        ({"purpose": "assistants"}, 400, "purpose", None),
        ({"name": "rows.csv"}, 400, "file", None),
        ({"data": b""}, 400, "file", None),
        ({"data": b"{not json\n"}, 400, "file", "invalid_training_file"),
        ({"data": ROWS * 2000}, 413, "file", "file_too_large"),
        ({"data": ROWS * 600}, 413, "file", "file_too_large"),  # over the limit by less than the frame may have
        ({"expires_after[anchor]": "created_at"}, 400, "expires_after", None),
    ],
)
def test_it_refuses_what_it_cannot_take_and_keeps_nothing(
    acme: Caller, sent: dict[str, Any], status: int, param: str, code: str | None
) -> None:
    error = refused(acme.upload(**sent), status)
    assert (error["param"], error["code"]) == (param, code)
    assert not StoredFile.objects.exists()
    assert kept(acme) == []


def test_it_refuses_by_the_length_alone(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_parse", None)  # reading would fail
    length = acme.tenant.plan.max_file_bytes + upload.FRAME_BYTES + 1
    response = acme.call(
        "POST", "/v1/files", CONTENT_TYPE="multipart/form-data; boundary=x", CONTENT_LENGTH=str(length)
    )
    assert refused(response, 413)["code"] == "file_too_large"


def test_it_refuses_while_the_disk_is_nearly_full(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FREE_BYTES", 1 << 60)
    response = acme.upload()
    assert refused(response, 507)["code"] == "disk_full"
    assert response["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"purpose": "fine-tune"}', "application/json"),
        ("purpose=fine-tune", "application/x-www-form-urlencoded"),
        ("--x\r\nbroken", "multipart/form-data; boundary=x"),
        ("broken", "multipart/form-data"),
        ("", "multipart/form-data; boundary=x"),
        (
            '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_it_says_how_to_send_a_file(acme: Caller, body: str, kind: str) -> None:
    response = acme.call("POST", "/v1/files", body, CONTENT_TYPE=kind)
    assert refused(response, 400)["param"] == "file"


def test_it_takes_one_file_at_a_time(acme: Caller) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\r\n'
    response = acme.call("POST", "/v1/files", part * 2 + "--x--\r\n", CONTENT_TYPE="multipart/form-data; boundary=x")
    assert "exactly one file" in refused(response, 400)["message"]
    assert kept(acme) == []


def test_an_upload_that_breaks_off_leaves_nothing(acme: Caller, server: str) -> None:
    """A body that ends early looks whole to Django's parser."""
    host, port = server.removeprefix("http://").split(":")
    head = '--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    head += '--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    body = head.encode() + ROWS
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(
            f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {acme.secret}\r\nContent-Type: "
            f"multipart/form-data; boundary=x\r\nContent-Length: {len(body) + 100}\r\n\r\n".encode()
            + body
        )
        line.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert b"The upload broke off." in answer
    assert not StoredFile.objects.exists()
    assert kept(acme) == []


def test_it_lists_in_pages(acme: Caller, rivals: Caller) -> None:
    names = [acme.file(name=f"{n}.jsonl").pk for n in range(5)]
    rivals.file()
    page = acme.get("/v1/files?limit=2")
    assert [row["id"] for row in page["data"]] == [names[4], names[3]]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", names[4], names[3], True)
    page = acme.get(f"/v1/files?limit=3&after={names[3]}")
    assert [row["id"] for row in page["data"]] == [names[2], names[1], names[0]]
    assert page["has_more"] is False
    page = acme.get("/v1/files?order=asc")
    assert [row["id"] for row in page["data"]] == names
    assert acme.get("/v1/files?purpose=batch")["data"] == []
    assert len(acme.get("/v1/files?purpose=fine-tune")["data"]) == 5
    assert acme.get("/v1/files?purpose=batch") == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip


def test_a_list_goes_on_from_a_file_that_was_deleted(acme: Caller) -> None:
    names = [acme.file(name=f"{n}.jsonl").pk for n in range(3)]
    answered(acme.call("DELETE", f"/v1/files/{names[2]}"))
    assert [row["id"] for row in acme.get(f"/v1/files?after={names[2]}")["data"]] == [names[1], names[0]]


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=10001", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after"),
     ("after=%00", "after")],
)  # fmt: skip
def test_it_names_the_wrong_field_of_a_query(acme: Caller, query: str, param: str) -> None:
    assert refused(acme.call("GET", f"/v1/files?{query}"), 400)["param"] == param


def test_it_shows_one(acme: Caller) -> None:
    row = acme.file()
    row.status, row.status_details = StoredFile.Status.ERROR, "line 1: no"
    row.save()
    shown = acme.get(f"/v1/files/{row.pk}")
    assert (shown["id"], shown["status"], shown["status_details"]) == (row.pk, "error", "line 1: no")


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [("rows.jsonl", ROWS, "text/plain; charset=utf-8")],
)
def test_it_hands_the_bytes_back_as_a_download(acme: Caller, name: str, data: bytes, kind: str) -> None:
    response = acme.call("GET", f"/v1/files/{acme.file(name=name, data=data).pk}/content")
    assert response.status_code == 200
    assert b"".join(response.streaming_content) == data  # type: ignore[attr-defined]
    response.close()
    assert response["Content-Type"] == kind
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "no-store"


def test_it_deletes(acme: Caller) -> None:
    row = acme.file()
    assert answered(acme.call("DELETE", f"/v1/files/{row.pk}")) == {"id": row.pk, "object": "file", "deleted": True}
    for path in (f"/v1/files/{row.pk}", f"/v1/files/{row.pk}/content", f"/v1/files/{row.pk}/report"):
        assert refused(acme.call("GET", path), 404)["code"] == "not_found"
    assert refused(acme.call("DELETE", f"/v1/files/{row.pk}"), 404)["code"] == "not_found"
    assert kept(acme) == []


def test_it_keeps_a_file_that_a_fine_tune_needs(acme: Caller) -> None:
    job = acme.job()
    error = refused(acme.call("DELETE", f"/v1/files/{job.training_file_id}"), 400)  # never 409: clients send that again
    assert error["code"] == "file_in_use"
    assert job.pk in error["message"]


def test_it_shows_the_report(acme: Caller) -> None:
    row = acme.file()
    error = refused(acme.call("GET", f"/v1/files/{row.pk}/report"), 404)
    assert "status is uploaded" in error["message"]
    made = Dataset.objects.create(
        file=row,
        kind="chat",
        path="/datasets/1",
        digest="ab" * 32,
        rows=3,
        report={"kept": 3},
        created_at=timezone.now(),
    )
    assert acme.get(f"/v1/files/{row.pk}/report") == {
        "object": "file.report", "file_id": row.pk, "kind": "chat", "rows": 3, "digest": "ab" * 32,
        "created_at": int(made.created_at.timestamp()), "report": {"kept": 3},
        "report_digest": report_digest(made), "signoff": None,
    }  # fmt: skip


def test_it_says_why_there_will_be_no_report(acme: Caller) -> None:
    row = acme.file()
    StoredFile.objects.filter(pk=row.pk).update(status=StoredFile.Status.ERROR, status_details="line 3: no content")
    error = refused(acme.call("GET", f"/v1/files/{row.pk}/report"), 404)
    assert "was refused" in error["message"]
    assert "line 3: no content" in error["message"]


def test_a_session_is_not_a_key(acme: Caller) -> None:
    from appliance.tenants.models import User

    client = Client()
    client.force_login(User.objects.create_user("operator", is_staff=True, is_superuser=True))
    assert refused(client.get("/v1/files"), 401)["code"] == "invalid_api_key"
