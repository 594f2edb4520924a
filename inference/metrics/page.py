"""A process's metrics page: a small HTTP server on a Unix socket, in threads of its own.

What the figures are is each process's matter. A page that can't be served is a line in the log; the process goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT_S = 5.0
Render = Callable[[], bytes]


class MetricsPage(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on a path, whatever lay there before; an earlier server of the same path keeps its open connections."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, render: Render) -> None:
        self.render = render
        # Bound under another name and then renamed: there is no moment without a page, and a stale socket is no obstacle.
        # The name is short because a socket's path is limited to 107 bytes.
        temporary = path.with_name(f".{os.getpid()}")
        temporary.unlink(missing_ok=True)
        super().__init__(str(temporary), _Answer)
        try:
            temporary.chmod(0o600)
            temporary.rename(path)
        except OSError:
            self.server_close()
            temporary.unlink(missing_ok=True)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """socketserver: an answer failed; most often the scraper left."""
        log.warning("the metrics page could not be shown", exc_info=True)


class _Answer(BaseHTTPRequestHandler):
    """GET, whatever the path: who may ask was decided before."""

    timeout = TIMEOUT_S
    server: MetricsPage

    def do_GET(self) -> None:
        """http.server: a request."""
        body = self.server.render()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """http.server: a Unix socket's peer has no address."""
        return "local"

    def log_message(self, format: str, *args: object) -> None:
        """http.server: a line for each scrape would drown the rest."""


def serve(path: Path, render: Render) -> MetricsPage | None:
    """Serve a page until the process ends; None, and a line in the log, when it can't be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        page = MetricsPage(path, render)
    except OSError as error:
        log.warning("no metrics page at %s: %s", path, error)
        return None
    threading.Thread(target=page.serve_forever, args=(0.5,), name="metrics-page", daemon=True).start()
    return page


def close(page: MetricsPage | None) -> None:
    """End a page; its socket's file stays for whoever comes next to replace."""
    if page is not None:
        with contextlib.suppress(OSError):
            page.shutdown()
            page.server_close()
