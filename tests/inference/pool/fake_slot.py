"""Makes an engine slot whose python serves vLLM's routes on a Unix socket within a second, with faults on demand.

Faults are files in the model's folder, looked at when they matter: `broken` (its text is raised while loading), `hang`
(completions wait and counters stand still, health answers), `slow` (completions wait while the counters move), `deaf`
(SIGTERM is ignored), `sleepy` (it can sleep, as on a card; with the text `bad` it does not wake), `picky` (adapters are
refused with its text), `patient` (loading one takes that many seconds), `busy` (there from the start: a second process
computes while completions wait). What tokens mean is left to the real engine.
"""

import sys
from pathlib import Path

_PROGRAM = r"""
import json, os, signal, socket, sys, threading, time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

options = dict(zip(sys.argv, sys.argv[1:]))
model = Path(options["--model"])
counts = {"prompt": 0, "generation": 0, "running": 0, "several": 0}
aborted = set()
adapters = {}
asleep = []
lora = "--enable-lora" in sys.argv and os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == "True"
if (model / "broken").exists():
    raise ValueError((model / "broken").read_text())
if (model / "busy").exists() and not os.fork():
    while os.getppid() != 1:
        if not (model / "hang").exists():
            time.sleep(0.05)
    os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: None if (model / "deaf").exists() else sys.exit(0))

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "unix"
    def log_message(self, *_): pass
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, b"")
        if self.path == "/is_sleeping" and (model / "sleepy").exists():
            return self.answer(200, json.dumps({"is_sleeping": bool(asleep)}).encode())
        if self.path == "/is_sleeping":
            return self.answer(404, b'{"detail":"Not Found"}')
        if self.path == "/v1/models":
            cards = [{"id": "m", "root": str(model), "parent": None}]
            cards += [{"id": name, "root": path, "parent": "m"} for name, path in adapters.items()]
            return self.answer(200, json.dumps({"object": "list", "data": cards}).encode())
        if (model / "slow").exists():
            counts["generation"] += 1
        text = "".join('vllm:%s{engine="0",model_name="m"} %.1f\n' % pair for pair in [
            ("prompt_tokens_total", counts["prompt"]), ("generation_tokens_total", counts["generation"]),
            ("num_requests_running", counts["running"]), ("num_requests_waiting", 0), ("kv_cache_usage_perc", 0)])
        text += "".join('vllm:time_to_first_token_seconds_bucket{le="%s"} %d\n' % (bound, counts["several"])
            for bound in ("0.5", "+Inf"))
        self.answer(200, text.encode())
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/inference/v1/abort_requests":
            aborted.update(body["request_ids"])
            return self.answer(200, b"")
        if self.path == "/sleep?level=1&mode=wait":
            while counts["running"]:
                time.sleep(0.02)
            asleep[:] = [1]
            return self.answer(200, b'{"status":"sleeping","level":1}')
        if self.path == "/wake_up":
            if (model / "sleepy").read_text() == "bad":
                return self.answer(500, b"out of memory")
            asleep.clear()
            return self.answer(200, b'{"status":"awake","tags":null}')
        if self.path.endswith("_lora_adapter"):
            return self.change_adapters(body)
        name = "cmpl-%s-0" % self.headers["X-Request-Id"]
        counts["running"] += 1
        until = time.monotonic() + float(body.get("seconds", 0))
        held = lambda: any((model / fault).exists() for fault in ("hang", "slow")) or time.monotonic() < until
        while name not in aborted and (asleep or held()):
            time.sleep(0.02)
        counts["running"] -= 1
        ended = name in aborted
        tokens = 0 if ended else body["max_tokens"]
        counts["prompt"] += 5 * (tokens > 0); counts["generation"] += tokens; counts["several"] += tokens > 1
        self.answer(200, json.dumps({"choices": [{"finish_reason": "abort" if ended else "length"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": tokens}}).encode())

    def change_adapters(self, body):
        name = body["lora_name"]
        if not lora:
            return self.answer(404, b'{"detail":"Not Found"}')
        if self.path == "/v1/unload_lora_adapter":
            return self.answer(200 if adapters.pop(name, None) else 404, b"")
        if (model / "picky").exists() or name in adapters:
            return self.answer(400, (model / "picky").read_bytes() if (model / "picky").exists() else b"already loaded")
        if (model / "patient").exists():
            time.sleep(float((model / "patient").read_text()))
        adapters[name] = body["lora_path"]
        self.answer(200, b"")

class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

Server(options["--uds"], Handler).serve_forever()
"""


def make_slot(folder: Path) -> Path:
    """The path of the slot's python."""
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "python"
    python.write_text(f"#!{sys.executable} -I\n{_PROGRAM}")
    python.chmod(0o755)
    return python


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    return folder
