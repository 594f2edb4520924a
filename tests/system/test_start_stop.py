"""`make up`, `start` and `stop` as a person runs them: what they print, what they leave, what they say when they can't."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.env import REPO
from ops.runner.sweep import engines_of
from tests.system.appliance import DEMO, Appliance, free_port, until

pytestmark = [pytest.mark.appliance, pytest.mark.engine]


@pytest.fixture
def bare() -> Iterator[Appliance]:
    """An appliance that nobody has started; ended whatever the test does."""
    with tempfile.TemporaryDirectory(prefix="coderack-test-") as folder:
        Path(folder).chmod(0o755)
        appliance = Appliance(Path(folder), free_port(), {"CODERACK_DEVICES": "cpu:1"})
        try:
            yield appliance
        finally:
            appliance.cli("stop")
            shutil.rmtree(appliance.env.run_dir, ignore_errors=True)


def processes_of(appliance: Appliance) -> list[str]:
    """Every process whose environment or command line names this data directory."""
    mark = str(appliance.data_dir).encode()
    run_dir = str(appliance.env.run_dir).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in text or run_dir in text:
                found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
    return found


def test_ready_json_holds_the_facts_and_only_its_owner_reads_them(appliance: Appliance) -> None:
    path = appliance.data_dir / "ready.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    facts = appliance.facts
    assert facts["base_url"] == f"{facts['console_url']}/v1"
    assert DEMO in facts["models"]
    assert facts["operator"]["name"] == "operator"
    assert appliance.request("GET", "/v1/models", key=facts["api_key"])[0] == 200


def test_a_second_runner_is_refused(appliance: Appliance) -> None:
    second = appliance.cli("start")
    assert second.returncode == 4
    assert "already running" in second.stderr
    assert appliance.cli("up").returncode == 4


def test_status_shows_the_replicas(appliance: Appliance) -> None:
    appliance.wait_ready()
    status = appliance.cli_json("status")
    assert status["running"]
    assert {"ready"} <= {replica["state"] for replica in status["replicas"]}


def test_engines_are_reachable_by_their_socket_only(appliance: Appliance) -> None:
    appliance.wait_ready()
    engine = next(iter(engines_of(appliance.env.run_dir)))
    mine, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{engine}/ns/net")
    listening = Path(f"/proc/{engine}/net/tcp").read_text()
    ours = Path("/proc/self/net/tcp").read_text()
    assert mine.readlink() != theirs.readlink(), "an engine has a network of its own, without a way out"
    listening_ports = {line.split()[1] for line in listening.splitlines()[1:] if line.split()[3] == "0A"}
    assert not listening_ports & {line.split()[1] for line in ours.splitlines()[1:]}
    assert "eth" not in Path(f"/proc/{engine}/net/dev").read_text()


def test_a_port_in_use_is_the_last_line_and_nothing_stays(bare: Appliance) -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", bare.port))
        occupant.listen()
        started = bare.cli("start")
    assert started.returncode == 1
    assert f"port {bare.port}" in started.stdout.strip().splitlines()[-1]
    assert "CODERACK_PORT" in started.stdout.strip().splitlines()[-1]
    assert processes_of(bare) == []
    assert not (bare.data_dir / "ready.json").exists()


def test_a_setting_that_does_not_exist_is_named(bare: Appliance) -> None:
    bare.extra["CODERACK_PROT"] = "1"
    try:
        refused = bare.cli("start")
    finally:
        del bare.extra["CODERACK_PROT"]
    assert refused.returncode != 0
    assert "CODERACK_PROT" in refused.stderr


def test_up_answers_and_ctrl_c_ends_everything(bare: Appliance) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.cli.main", "up"], cwd=REPO, env=bare.environ, stdout=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or []), daemon=True)
    reader.start()
    until(lambda: (bare.data_dir / "ready.json").exists() or process.poll() is not None, bool, 600)
    assert process.poll() is None, "".join(lines)
    until(lambda: "".join(lines), lambda text: "curl -N" in text, 30)
    text = "".join(lines)
    curl = next(line for line in text.splitlines() if line.startswith("curl -N"))
    streamed = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True, timeout=120).stdout
    assert streamed.rstrip().endswith("data: [DONE]")
    assert bare.facts["console_url"] in text
    assert bare.facts["operator"]["password"] in text

    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    reader.join(5)
    process.stdout.close()
    assert processes_of(bare) == []
    assert not (bare.data_dir / "ready.json").exists()


def test_an_engine_that_fails_to_load_says_why_and_the_rest_keeps_running(
    appliance: Appliance, demo_model: Path
) -> None:
    key = appliance.new_tenant("onlooker")
    with tempfile.TemporaryDirectory(prefix="coderack-broken-") as folder:
        broken = Path(folder) / "broken"
        broken.mkdir()
        for file in demo_model.iterdir():
            (broken / file.name).write_bytes(file.read_bytes())
        config = json.loads((broken / "config.json").read_text())
        (broken / "config.json").write_text(json.dumps(config | {"hidden_size": 577}))
        from ops.models import manifest

        manifest.write(broken, name="broken", origin="test", licence="Apache-2.0")
        assert appliance.cli("model", "add", str(broken), "--name", "broken-demo").returncode == 0
        assert appliance.cli("model", "serve", "broken-demo").returncode == 0
        failed = until(
            lambda: appliance.replica("broken-demo"), lambda r: r["state"] == "failed" and r["restarts"], 240, 0.3
        )
        assert "hidden_size" in failed["reason"] or "577" in failed["reason"], failed["reason"]
        assert len(failed["reason"].splitlines()) > 5
        body = {"model": DEMO, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        assert appliance.request("POST", "/v1/chat/completions", body, key=key)[0] == 200
        status, headers, answer = appliance.request(
            "POST", "/v1/chat/completions", body | {"model": "broken-demo"}, key=key
        )
        assert (status, json.loads(answer)["error"]["code"]) == (503, "overloaded")
        assert headers["retry-after"]
        assert appliance.cli("model", "withdraw", "broken-demo").returncode == 0
        until(lambda: appliance.replica("broken-demo")["state"], lambda state: state == "absent", 60)
