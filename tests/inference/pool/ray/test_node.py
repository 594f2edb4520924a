"""The node process where the machine it runs on has no room."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

from inference.devices import open_probe
from inference.engines import EngineSpec
from inference.pool.process import is_alive
from inference.pool.ray import files
from inference.pool.ray import node as nodes
from inference.pool.ray.certificates import make_pair
from inference.pool.ray.engine_process import EngineProcess
from inference.pool.ray.order import Order
from inference.pool.settings import RaySettings
from tests.inference.pool.adapter_dirs import seal
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


def order_in(tmp_path, folder, **changes):
    """An order for one of this machine's processors, whose model is what was registered."""
    for name in ("home", "cache", "scratch", "run"):
        (folder / name).mkdir()
    spec = EngineSpec(
        slot_python=make_slot(tmp_path / "slot"), model="m", model_path=make_model(tmp_path / "model"), max_model_len=512,
        flags=(), devices=tuple(open_probe("cpu", 1).read()), socket=folder / "run" / "e.sock", home=folder / "home",
        cache=folder / "cache", scratch=folder / "scratch", shutdown_timeout_s=1, adapters=folder / "home" / "adapters.json",
    )  # fmt: skip
    order = Order(
        life_id="1", node="box-b", engine_kind="vllm", spec=spec, node_devices=1, model="", digest=seal(spec.model_path),
        wish=folder / "wish.json", python=Path("/p"), root=Path("/r"), ray=RaySettings("a:1", ()), address="127.0.0.1",
        certificate=make_pair("tether").certificate,
    )  # fmt: skip
    return replace(order, **changes)


def end_of(order, say=()):
    """What a tether hears from a node's beginning to its end."""

    async def talk():
        node, tether = nodes.Node(order, make_pair("node")), Tether()
        conversation = node.converse()
        conversation.connection_made(tether)
        for what in say:
            conversation.data_received(json.dumps(what).encode() + b"\n")
        async with asyncio.timeout(50):
            await node._over.wait()
        return tether.heard()

    return asyncio.run(talk())


def test_a_node_starts_no_engine_on_files_that_are_not_the_registered_ones(tmp_path, tmp_path_factory):
    order = order_in(tmp_path, tmp_path_factory.mktemp("n"))
    (order.spec.model_path / "config.json").write_text("[]")  # as long as before
    heard = end_of(order)
    words = "".join(what.get("log", "") for what in heard)
    assert "the model there is not the registered one" in words
    assert "config.json was changed" in words
    assert {"ended": {"status": 1}} in heard
    assert not (order.spec.socket.with_suffix(".pid")).exists()


def test_a_node_that_is_told_to_end_while_it_reads_starts_nothing(tmp_path, tmp_path_factory):
    order = order_in(tmp_path, tmp_path_factory.mktemp("n"))
    heard = end_of(order, [{"end": True}])
    assert {"ended": {"status": 0}} in heard
    assert not (order.spec.socket.with_suffix(".pid")).exists()


def test_a_node_lays_down_what_the_pool_says_of_adapters(tmp_path, tmp_path_factory):
    order = order_in(tmp_path, tmp_path_factory.mktemp("n"))
    wish = {"format": 1, "adapters": [{"name": "a", "path": "/a", "digest": "0", "pinned": False}]}
    heard = end_of(order, [{"adapters": wish, "number": 7}, {"end": True}])
    assert {"told": 7} in heard
    assert json.loads(order.spec.adapters.read_bytes()) == wish
    order.spec.adapters.unlink()
    order.spec.home.rmdir()
    heard = end_of(order, [{"adapters": wish, "number": 8}, {"end": True}])
    assert not any("told" in what for what in heard)
    assert any("it can't be told of its adapters" in what.get("log", "") for what in heard)


def test_a_node_that_can_not_note_its_engine_ends_it_and_says_so(tmp_path, tmp_path_factory, monkeypatch):
    order = order_in(tmp_path, tmp_path_factory.mktemp("n"))
    files.process_file(order.spec).mkdir()  # nothing can be written there
    engines = []
    monkeypatch.setattr(nodes, "EngineProcess", lambda *how: engines.append(EngineProcess(*how)) or engines[-1])

    async def talk():
        node, tether = nodes.Node(order, make_pair("node")), Tether()
        node.converse().connection_made(tether)
        async with asyncio.timeout(50):
            await node._over.wait()
        return engines[0], tether.heard()

    engine, heard = asyncio.run(talk())
    engine._process.stdout.close()
    os.close(engine._pidfd)
    assert not is_alive(engine.pid, engine.started)
    assert any("the engine could not be started" in what.get("log", "") for what in heard)
    assert {"ended": {"status": 1}} in heard
