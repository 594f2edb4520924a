"""The metrics page on its socket: it replaces what lay there, it survives bad clients, and it never stops the process."""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.metrics.page import MetricsPage, close, serve


def ask(path: Path, request: bytes = b"GET /metrics HTTP/1.0\r\n\r\n", timeout_s: float = 5) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        client.connect(str(path))
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics" / "pool.sock"


@contextlib.contextmanager
def page_of(path: Path, text: bytes) -> Iterator[MetricsPage]:
    page = serve(path, lambda: text)
    assert page is not None
    yield page
    close(page)


def test_it_answers_with_its_figures_and_their_length(path: Path) -> None:
    with page_of(path, b"a 1\n"):
        head, _, body = ask(path).partition(b"\r\n\r\n")
    assert body == b"a 1\n"
    assert b" 200 " in head
    assert b"content-length: 4" in head.lower()
    assert b"text/plain; version=0.0.4" in head


def test_only_its_own_user_can_reach_it(path: Path) -> None:
    with page_of(path, b""):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_replaces_a_dead_process_socket_and_a_living_ones(path: Path) -> None:
    with page_of(path, b"old 1\n"), page_of(path, b"new 1\n"):
        assert ask(path).endswith(b"new 1\n")
    path.unlink()
    path.write_text("no socket at all")
    with page_of(path, b"third 1\n"):
        assert ask(path).endswith(b"third 1\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["pool.sock"]


def test_a_client_that_says_nothing_or_nonsense_keeps_nobody_waiting(path: Path) -> None:
    with page_of(path, b"a 1\n"), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert b" 501 " in ask(path, b"POST / HTTP/1.0\r\n\r\n")
        ask(path, b"\x00\xff\r\n\r\n")
        assert ask(path).endswith(b"a 1\n")


def test_figures_that_cannot_be_made_end_one_answer_and_not_the_page(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([None, b"a 1\n"])

    def render() -> bytes:
        answer = next(answers)
        if answer is None:
            raise RuntimeError("a collector's fault")
        return answer

    page = serve(path, render)
    assert ask(path) == b""
    assert ask(path).endswith(b"a 1\n")
    assert "could not be shown" in caplog.text
    close(page)


@pytest.mark.parametrize("path", [Path("/proc/metrics/pool.sock"), Path("/tmp") / ("x" * 120) / "pool.sock"])
def test_a_place_where_it_cannot_listen_is_a_line_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    try:
        assert serve(path, lambda: b"") is None
    finally:
        if path.parent.name.startswith("x"):
            path.parent.rmdir()
    assert "no metrics page" in caplog.text
