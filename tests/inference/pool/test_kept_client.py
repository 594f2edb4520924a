"""Connections that are used again, on a real HTTP server behind a Unix socket."""

import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from inference.pool.errors import EngineUnreachable
from inference.pool.kept_client import KeptClient
from tests.waiting import wait_until


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.calls.append(self.connection.fileno())
        if self.path == "/breaks-off":
            self.close_connection = True
            return
        if self.path == "/waits":
            self.server.may_answer.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        if self.path == "/last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok")


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, path):
        super().__init__(str(path), Handler)
        self.path, self.calls, self.open, self.begun, self.may_answer = path, [], 0, 0, threading.Event()

    def process_request_thread(self, request, client_address):
        self.open, self.begun = self.open + 1, self.begun + 1
        super().process_request_thread(request, client_address)
        self.open -= 1


@pytest.fixture
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("s") / "s") as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.may_answer.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def client(server):
    made = KeptClient(server.path)
    yield made
    made.close()


def test_calls_one_after_the_other_share_a_connection(server, client):
    assert [client.get("/x", 10).body for _ in range(5)] == [b"ok"] * 5
    assert server.begun == 1


def test_calls_at_the_same_time_have_each_their_own(server, client):
    waiting = threading.Thread(target=client.get, args=("/waits", 30))
    waiting.start()
    wait_until(lambda: server.calls)
    assert client.get("/x", 10).status == 200
    server.may_answer.set()
    waiting.join()
    assert server.begun == 2


def test_a_connection_that_the_server_ended_is_not_used_again(server, client):
    client.get("/last", 10)
    assert client.get("/x", 10).status == 200
    assert server.begun == 2


def test_a_call_that_breaks_off_is_said_and_not_repeated(server, client):
    client.get("/x", 10)
    with pytest.raises(EngineUnreachable):
        client.get("/breaks-off", 10)
    assert len(server.calls) == 2
    assert client.get("/x", 10).status == 200


def test_an_answer_that_does_not_come_in_time_ends_its_connection(server, client):
    with pytest.raises(EngineUnreachable, match="TimeoutError"):
        client.get("/waits", 0.2)
    server.may_answer.set()
    assert client.get("/x", 10).body == b"ok"  # and not what came late
    assert server.begun == 2


def test_it_hangs_up_at_its_end_also_what_is_still_on_its_way(server, client):
    client.get("/x", 10)
    waiting = threading.Thread(target=client.get, args=("/waits", 30))
    waiting.start()
    wait_until(lambda: len(server.calls) == 2)
    client.close()
    server.may_answer.set()
    waiting.join()
    wait_until(lambda: server.open == 0)
