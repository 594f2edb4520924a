"""Who is measured: nobody in between, nginx, the Rust router, and our gateway (in `ours`). Each runs on one core.

A contender is a context that yields a `Contender`, or raises `Absent` with the reason why it can't be measured here.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.harness import cores
from tests.bench.machine import family
from tests.inference.gateway.parts import free_port
from tests.waiting import wait_until

ROUTER = "vllm-router==0.1.17"


class Absent(Exception):
    """This contender can't be had on this machine."""


@dataclass
class Contender:
    """Where its load goes, and the processes whose CPU time and memory are its own; `helpers` are told apart."""

    name: str
    address: str
    key: str = "none"
    pid: int | None = None
    helpers: dict[str, int] = field(default_factory=dict)

    def pids(self) -> list[int]:
        """All its processes now."""
        return family(self.pid) if self.pid else []


@dataclass(frozen=True)
class Engines:
    """The fake engine's addresses: four replicas on Unix sockets, and the same four on ports."""

    sockets: list[Path]
    ports: list[int]

    def listen(self) -> list[str]:
        return [*(f"unix:{path}" for path in self.sockets), *(f"tcp:127.0.0.1:{port}" for port in self.ports)]


@contextmanager
def on_their_core() -> Iterator[None]:
    """Processes started here run on the contenders' core."""
    _, theirs = cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {theirs})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def direct(engines: Engines) -> Iterator[Contender]:
    """Nobody in between: the harness' own ceiling."""
    yield Contender("direct", f"tcp:127.0.0.1:{engines.ports[0]}")


NGINX = """
{user}daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/nginx.log warn; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  upstream engines {{ {servers} keepalive 4096; keepalive_requests 1000000000; keepalive_time 1d; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; keepalive_requests 1000000000;
    location / {{
      proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@contextmanager
def nginx(engines: Engines, root: Path) -> Iterator[Contender]:
    """Debian's nginx, response buffering off, kept-alive connections to the four Unix sockets."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise Absent("nginx is not installed (Debian: apt-get install nginx-light)")
    port = free_port()
    servers = " ".join(f"server unix:{path};" for path in engines.sockets)
    user = "user root; " if os.geteuid() == 0 else ""
    root.mkdir()
    configuration = root / "nginx.conf"
    configuration.write_text(NGINX.format(root=root, port=port, servers=servers, user=user))
    command = [program, "-e", str(root / "nginx.log"), "-p", str(root), "-c", str(configuration)]
    with running(command, root / "nginx.log", port) as pid:
        yield Contender("nginx", f"tcp:127.0.0.1:{port}", pid=pid)


@contextmanager
def router(engines: Engines, root: Path, installed: Path | None) -> Iterator[Contender]:
    """vllm-router with the four replicas on ports (it knows no Unix sockets), whose processes share the core."""
    root.mkdir()
    program = installed or install_router(root / "venv")
    port, metrics_port = free_port(), free_port()
    urls = [f"http://127.0.0.1:{one}" for one in engines.ports]
    command = [
        str(program), "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics_port),
        "--policy", "round_robin", "--log-level", "error", "--max-concurrent-requests", "100000", "--worker-urls", *urls,
    ]  # fmt: skip
    with running(command, root / "router.log", port) as pid:
        yield Contender("vllm-router", f"tcp:127.0.0.1:{port}", pid=pid)


def install_router(folder: Path) -> Path:
    sys.stderr.write(f"installing {ROUTER} into a folder of its own\n")
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "pip"), "--quiet", "--disable-pip-version-check", "install", ROUTER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Absent(f"{ROUTER} can't be installed: {last}")
    return folder / "bin" / "vllm-router"


@contextmanager
def running(command: list[str], log: Path, port: int) -> Iterator[int]:
    """A server on the contenders' core, from its first accepted connection to its end."""
    with log.open("ab") as output, on_their_core():
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        wait_until(lambda: accepts(port) or process.poll() is not None, 60, log)
        if process.poll() is not None:
            raise Absent(f"{command[0]} does not start: {log.read_text()[-500:]}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
