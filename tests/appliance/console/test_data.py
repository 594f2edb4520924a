"""Data: files, what cleaning reported of them, reports to take along, deleting."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from appliance.console.paging import PAGE_SIZE
from appliance.console.report import MOST_ROWS, cell, sections
from appliance.training import erasing
from appliance.training.models import Dataset, Erasure, Job, StoredFile
from tests.appliance.console import tuning
from tests.appliance.console.cast import Cast


def _page(cast: Cast, address: str, person: str = "owner") -> str:
    response = cast.client(person).get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_it_says_how_to_upload_the_first_file(cast: Cast) -> None:
    assert "purpose=fine-tune" in _page(cast, "/data/")


def test_it_lists_own_files_that_are_not_deleted(cast: Cast, tmp_path: Path) -> None:
    ours, theirs, gone = tuning.upload(cast.acme), tuning.upload(cast.rivals), tuning.upload(cast.acme)
    StoredFile.objects.filter(pk=gone.pk).update(deleted_at=gone.created_at)
    tuning.clean(ours, tmp_path)
    page = _page(cast, "/data/")
    assert ours.pk in page
    assert "1\u202f100</td>" in page
    assert "4.0 KiB" in page
    assert theirs.pk not in page
    assert gone.pk not in page
    assert theirs.pk in _page(cast, "/data/?tenant=rivals", "operator")
    assert "No file matches" in _page(cast, "/data/?state=error")
    assert cast.client("owner").get(f"/data/{gone.pk}/").status_code == 404


def test_it_pages_through_many_files(cast: Cast) -> None:
    for _ in range(PAGE_SIZE + 3):
        tuning.upload(cast.acme)
    first = cast.client("owner").get("/data/").context
    second = cast.client("owner").get(f"/data/?{first['older']}").context
    assert len({row["file"].pk for row in [*first["rows"], *second["rows"]]}) == PAGE_SIZE + 3


def test_it_shows_the_report_in_words(cast: Cast, tmp_path: Path) -> None:
    file = tuning.upload(cast.acme)
    tuning.clean(file, tmp_path)
    page = _page(cast, f"/data/{file.pk}/", "developer")
    for words in (
        "aws-access-key", "key = CODERACK_X1", "long lines 50", "Residual samples: please read these", "looks random",
        "Clusters of near-duplicates", "rows alone in theirs", "different values", "No tool finds everything.", "1\u202f200",
    ):  # fmt: skip
        assert words in page
    assert f"/data/{file.pk}/delete/" not in page


def test_it_says_why_a_file_was_refused_and_when_one_still_waits(cast: Cast) -> None:
    refused = tuning.upload(cast.acme, status="error", status_details="line 7: content is missing")
    assert "line 7: content is missing" in _page(cast, f"/data/{refused.pk}/")
    assert "A worker checks and cleans it next" in _page(cast, f"/data/{tuning.upload(cast.acme).pk}/")


def test_it_sends_reports_as_attachments_only(cast: Cast, tmp_path: Path) -> None:
    file = tuning.upload(cast.acme)
    dataset = tuning.clean(file, tmp_path)
    client = cast.client("developer")
    page = client.get(f"/data/{file.pk}/report.html")
    assert page["Content-Disposition"] == f'attachment; filename="{file.pk}-report.html"'
    assert page["X-Content-Type-Options"] == "nosniff"
    assert page.content == (tmp_path / "report.html").read_bytes()
    data = client.get(f"/data/{file.pk}/report.json")
    assert data["Content-Type"] == "application/json"
    assert data["Content-Disposition"].startswith("attachment")
    assert json.loads(data.content) == dataset.report
    (tmp_path / "report.html").unlink()
    assert client.get(f"/data/{file.pk}/report.html").status_code == 404
    assert client.get(f"/data/{tuning.upload(cast.acme).pk}/report.json").status_code == 404


def test_it_says_what_goes_and_then_deletes(cast: Cast) -> None:
    file = tuning.upload(cast.acme)
    tuning.start(cast.acme, status="succeeded", training_file=file)
    assert "1 fine-tune was trained on it" in _page(cast, f"/data/{file.pk}/delete/")
    response = cast.client("owner").post(f"/data/{file.pk}/delete/", follow=True)
    assert "was deleted" in response.content.decode()
    assert StoredFile.objects.get(pk=file.pk).deleted_at is not None


def test_it_keeps_a_file_that_a_fine_tune_needs(cast: Cast) -> None:
    job = tuning.start(cast.acme)
    page = cast.client("owner").post(f"/data/{job.training_file_id}/delete/", follow=True).content.decode()
    assert f"The fine-tune {job.pk} still needs this file" in page
    assert StoredFile.objects.get(pk=job.training_file_id).deleted_at is None
    assert Job.objects.get(pk=job.pk).status == "running"


@pytest.mark.parametrize(("person", "status"), [("developer", 403), ("rival", 404), ("stranger", 404), (None, 302)])
def test_it_lets_nobody_else_delete(cast: Cast, person: str, status: int) -> None:
    file = tuning.upload(cast.acme)
    assert cast.client(person).post(f"/data/{file.pk}/delete/").status_code == status
    assert StoredFile.objects.get(pk=file.pk).deleted_at is None


def test_it_shows_languages_and_licences_in_the_order_of_the_report(cast: Cast, tmp_path: Path) -> None:
    counts = {"files": 9, "bytes": 70_000, "kept": 7, "dropped": 2}
    report = tuning.REPORT | {
        "kind": "text",
        "languages": [{"language": name, **counts} for name in ("TypeScript", "C", "Python")],
        "licences": [{"licence": "GPL-2.0-only", "family": "strong_copyleft", **counts}],
        "licence_of_upload": "none found",
        "unwanted_licences": ["strong_copyleft"],
        "other_licences": [{"directory": "vendor/<b>zlib</b>", "licence": "Zlib", "files": 3, "kept": 3}],
    }
    file = tuning.upload(cast.acme)
    tuning.clean(file, tmp_path, report)
    parts = {str(part.title): part for part in sections(Dataset.objects.get(file=file).report)}
    assert [row[0] for row in parts["Languages"].rows] == ["TypeScript", "C", "Python"]
    assert [str(column) for column in parts["Licences"].columns] == [
        "licence", "family", "files", "bytes", "kept", "dropped",
    ]  # fmt: skip
    assert parts["Licences"].rows[0][:2] == ["GPL-2.0-only", "strong copyleft"]
    page = _page(cast, f"/data/{file.pk}/")
    assert "vendor/&lt;b&gt;zlib&lt;/b&gt;" in page
    client = cast.client("owner")
    client.post("/language/", {"language": "zh-hans", "next": "/"})
    chinese = client.get(f"/data/{file.pk}/").content.decode()
    assert all(words in chinese for words in ("编程语言", "强著佐权", "未发现", "与上传内容自身许可证不同的部分"))


def test_it_shows_keys_that_it_does_not_know() -> None:
    report = {
        "new_number": 3,
        "deep": {"a": {"b": {"c": 1}}},
        "list": [1, "two", None],
        "mixed": [{"a": 1}, 2],
        "none": {},
    }
    parts = {str(part.title): part for part in sections(report)}
    assert [(str(name), value) for name, value in parts["In total"].facts] == [("new number", "3")]
    assert parts["deep"].rows == [["a", "c 1"]]
    assert parts["list"].rows == [["1"], ["two"], ["–"]]
    assert parts["mixed"].rows == [["a 1"], ["2"]]
    assert "none" not in parts


def test_it_shows_no_more_rows_than_a_page_can_bear() -> None:
    part = sections({"samples": [{"row": n} for n in range(MOST_ROWS + 5)]})[0]
    assert len(part.rows) == MOST_ROWS
    assert part.left_out == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (1234, "1\u202f234"), (0.85, "0.85"), ([], "–"), ([[1]], "[\n  [\n    1\n  ]\n]")],
)
def test_it_writes_any_value_as_text(value: object, text: str) -> None:
    assert cell(value) == text


def test_it_shows_what_a_file_led_to_and_has_all_of_it_erased(cast: Cast) -> None:
    file = tuning.upload(cast.acme, sha256="78" * 32)
    adapter = tuning.finish(tuning.start(cast.acme, training_file=file), state="active")
    assert f"/data/{file.pk}/erase/" in _page(cast, f"/data/{file.pk}/delete/")
    page = _page(cast, f"/data/{file.pk}/erase/")
    assert adapter.name in page
    assert "withdrawn, then removed" in page
    told = cast.client("owner").post(f"/data/{file.pk}/erase/", follow=True)
    assert "is being erased" in told.content.decode()
    erasure = erasing.go_on(Erasure.objects.get(file=file))
    assert (erasure.asked_by, erasure.state) == ("owner", "done")
    adapter.refresh_from_db()
    assert adapter.state == "withdrawn"
    page = _page(cast, f"/erasures/{erasure.pk}/")
    for name in ("certificate.json", "certificate.html", "signature.json"):
        assert f"/erasures/{erasure.pk}/{name}" in page
        sent = cast.client("developer").get(f"/erasures/{erasure.pk}/{name}")
        assert sent["Content-Disposition"] == f'attachment; filename="{name}"'
        assert "sandbox" in sent["Content-Security-Policy"]
    assert cast.client("owner").get(f"/erasures/{erasure.pk}/requests.jsonl").status_code == 404
    assert file.filename in _page(cast, "/erasures/")
    assert file.filename not in cast.client("rival").get("/erasures/").content.decode()


def test_it_says_what_an_erasure_waits_for(cast: Cast) -> None:
    job = tuning.start(cast.acme, lease_expires_at=timezone.now() + timedelta(hours=1))
    assert "cancelled, then removed" in _page(cast, f"/data/{job.training_file_id}/erase/")
    cast.client("owner").post(f"/data/{job.training_file_id}/erase/")
    erasure = erasing.go_on(Erasure.objects.get())
    assert f"{job.pk} has not stopped yet" in _page(cast, f"/erasures/{erasure.pk}/")
    assert Job.objects.get(pk=job.pk).status == "cancelled"


@pytest.mark.parametrize(("person", "status"), [("developer", 403), ("rival", 404), ("stranger", 404), (None, 302)])
def test_it_lets_nobody_else_erase(cast: Cast, person: str, status: int) -> None:
    file = tuning.upload(cast.acme)
    assert cast.client(person).post(f"/data/{file.pk}/erase/").status_code == status
    assert StoredFile.objects.get(pk=file.pk).deleted_at is None
