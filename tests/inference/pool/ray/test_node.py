"""The node process where the machine it runs on has no room."""

import asyncio
import json
import os
from pathlib import Path

from inference.devices import open_probe
from inference.engines import EngineSpec
from inference.pool.process import is_alive
from inference.pool.ray import node as nodes
from inference.pool.ray.certificates import make_pair
from inference.pool.ray.order import Order
from inference.pool.settings import RaySettings
from tests.inference.pool.fake_slot import make_model, make_slot


class Tether:
    """The other end of the conversation: what it hears."""

    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data

    def is_closing(self):
        return False

    def get_write_buffer_size(self):
        return 0

    def abort(self):
        pass

    def heard(self):
        return [json.loads(line) for line in self.written.splitlines()]


def test_a_node_that_can_not_note_its_engine_ends_it_and_says_so(tmp_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("n")
    for name in ("home", "cache", "scratch"):
        (folder / name).mkdir()
    spec = EngineSpec(
        slot_python=make_slot(tmp_path / "slot"), model="m", model_path=make_model(tmp_path / "model"), max_model_len=512,
        flags=(), devices=tuple(open_probe("cpu", 1).read()), socket=folder / "gone" / "e.sock", home=folder / "home",
        cache=folder / "cache", scratch=folder / "scratch", shutdown_timeout_s=1,
    )  # fmt: skip
    order = Order("1", "box-b", "vllm", spec, 1, "", Path("/p"), Path("/r"), RaySettings("a:1", ()), "127.0.0.1")

    async def talk():
        node = nodes.Node(Order(**{**vars(order), "certificate": make_pair("tether").certificate}), make_pair("node"))
        tether, conversation = Tether(), node.converse()
        assert conversation is not None
        engine = node._engine
        conversation.connection_made(tether)
        async with asyncio.timeout(50):
            await node._over.wait()
        return engine, tether.heard()

    engine, heard = asyncio.run(talk())
    engine._process.stdout.close()
    os.close(engine._pidfd)
    assert not is_alive(engine.pid, engine.started)
    assert any("the engine could not be started" in what.get("log", "") for what in heard)
    assert {"ended": {"status": 1}} in heard
