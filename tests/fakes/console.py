"""A fake console over a Unix socket that reports which requests reached it."""

from __future__ import annotations

import contextlib
import json
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any


class Console(ThreadingMixIn, UnixStreamServer):
    """A console that reports what reached it."""

    daemon_threads = True


class ConsoleHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *arguments: Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self) -> None:
        if self.path == "/early":
            self.send_response(413)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = True
            return
        body = self._body()
        seen = {"path": self.path, "method": self.command, "headers": dict(self.headers.items()), "bytes": len(body)}
        self.send_response(200)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Connection", "X-Secret")
        self.send_header("X-Secret", "hop")
        if self.path.startswith("/big"):
            self.send_header("Content-Length", str(32 * 1024 * 1024))
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(32):
                    self.wfile.write(b"z" * 1024 * 1024)
            return
        data = json.dumps(seen).encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = _answer
