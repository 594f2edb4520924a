"""The cast of the API's tests: two tenants' programs with a key each, and what they send."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponseBase
from django.test import Client

from appliance.batches.models import Batch
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.tenants.models import ApiKey, Tenant
from appliance.training.models import Job, StoredFile

MODEL = "tiny-coder"
CHAT = "/v1/chat/completions"
ROWS = b"".join(
    json.dumps({"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]}).encode()
    + b"\n"
    for n in range(3)
)


@dataclass(frozen=True)
class Caller:
    """A program with a key."""

    key: ApiKey
    secret: str

    @property
    def tenant(self) -> Tenant:
        return self.key.tenant

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> HttpResponseBase:
        """A request; `body` goes as JSON."""
        client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {self.secret}"})
        data = "" if body is None else body if isinstance(body, str | bytes) else json.dumps(body)
        return client.generic(method, path, data, content_type="application/json", **more)

    def get(self, path: str, **more: Any) -> Any:
        """The JSON of a GET that succeeds."""
        return answered(self.call("GET", path, **more))

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON of a POST that succeeds."""
        return answered(self.call("POST", path, body))

    def upload(self, name: str = "rows.jsonl", data: bytes = ROWS, path: str = "/v1/files", **fields: str) -> Any:
        """An upload's response."""
        client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {self.secret}"})
        return client.post(path, {"file": SimpleUploadedFile(name, data), "purpose": "fine-tune", **fields})

    def file(self, **more: Any) -> StoredFile:
        """A file of this caller's tenant, by its row."""
        return StoredFile.objects.get(pk=answered(self.upload(**more))["id"])

    def job(self, **more: Any) -> Job:
        """A fine-tune of this caller's tenant, queued through the API."""
        asked = {"model": MODEL, "training_file": self.file().pk, **more}
        return Job.objects.get(pk=self.post("/v1/fine_tuning/jobs", asked)["id"])

    def batch(self, **more: Any) -> Batch:
        """A batch of this caller's tenant, begun through the API."""
        line = {"custom_id": "1", "method": "POST", "url": CHAT, "body": {"model": MODEL, "messages": []}}
        file = self.file(name="requests.jsonl", data=json.dumps(line).encode(), purpose="batch")
        asked = {"input_file_id": file.pk, "endpoint": CHAT, "completion_window": "24h", **more}
        return Batch.objects.get(pk=self.post("/v1/batches", asked)["id"])

    def adapter(self, state: AdapterState, name: str = "ft:tiny-coder:acme:x:1") -> Adapter:
        """An adapter of this caller's tenant."""
        return Adapter.objects.create(
            name=name, tenant=self.tenant, base=ModelVersion.objects.get(name=MODEL), path="/adapters/1",
            digest="ef" * 32, rank=16, state=state,
        )  # fmt: skip


def answered(response: HttpResponseBase, status: int = 200) -> Any:
    """The JSON of an answer with this status."""
    assert response.status_code == status, getattr(response, "content", b"")[:400]
    return response.json()  # type: ignore[attr-defined]


def refused(response: HttpResponseBase, status: int) -> Any:
    """The error inside a refusal; all four keys have to be there."""
    body = answered(response, status)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]
