"""The demo's upgrade, where no appliance has to run: its load tells every failure, its clean-up leaves the first version."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openai
import pytest

from appliance.first_rows import register_model, register_slot
from appliance.fleet import deployments
from appliance.fleet.models import Deployment
from appliance.operations.models import Upgrade, UpgradeState
from appliance.registry.models import ModelVersion
from ops.cli.demo import clean
from ops.cli.demo.cast import FIM_MODEL
from ops.cli.demo.load import Load

CHOICE = '{"id":"x","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"a","finish_reason":%s}]}'
MORE, LAST, DONE = (f"data: {event}\n\n".encode() for event in (CHOICE % "null", CHOICE % '"stop"', "[DONE]"))
WHOLE = (CHOICE % '"stop"').encode()


class Gateway(BaseHTTPRequestHandler):
    """Answers as it is told to: `well`, `refuse`, or `cut` a stream before its end."""

    manner = "well"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        streamed = b'"stream":true' in body.replace(b" ", b"")
        status = 503 if self.manner == "refuse" else 200
        events = MORE if self.manner == "cut" else MORE + LAST + DONE
        answer = events if streamed else WHOLE
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k", max_retries=0) as made:
        yield made
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.mark.parametrize(("manner", "failed"), [("well", "none"), ("refuse", "all"), ("cut", "streams")])
def test_the_load_counts_every_request_and_every_failure(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, manner: str, failed: str
) -> None:
    monkeypatch.setattr(Gateway, "manner", manner)
    monkeypatch.setattr("ops.cli.demo.load.PERIOD_S", 0.02)
    with Load(client, "m", "key", 0.1) as load:
        time.sleep(0.3)
    assert load.sent > 5
    assert 0 < load.streamed < load.sent
    assert len(load.failures) == {"none": 0, "all": load.sent, "streams": load.streamed}[failed]


@pytest.mark.usefixtures("db")
def test_the_next_walk_begins_with_the_first_version_again() -> None:
    slot = register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    first = register_model(FIM_MODEL, Path("/one"), "1" * 64, "", 512, True)
    second = register_model(FIM_MODEL, Path("/two"), "2" * 64, "", 512, True)
    deployments.serve(first, slot, (), 1, 1)
    old = Deployment.objects.get()
    deployments.serve(second, slot, (), 1, 1)
    Upgrade.objects.create(
        name=FIM_MODEL, digest=second.digest, strategy="beside", state=UpgradeState.DONE, from_model=first,
        to_model=second, from_deployment=old, created_by="x",
    )  # fmt: skip
    clean.close()
    clean._delete_rows()
    assert list(ModelVersion.objects.all()) == [first]
    assert list(Deployment.objects.all()) == [old]
    assert not Upgrade.objects.exists()
    assert deployments.version_to_serve(FIM_MODEL) == first
