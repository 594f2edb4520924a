"""The process that runs one engine on another machine: `python -m inference.pool.ray.node`, started by a hand.

It reads its order from its input, answers with its port and certificate, and once the tether has called it verifies the
model's files and starts the engine. What the pool says of the engine's adapters it lays where the engine reads it. On its one
port it takes the tether's conversation and the requests, which it hands to the engine's socket, from nobody but the holder of
the tether's key. It ends, and the engine with it, when the tether's conversation or its own input does: an engine that the
pool has lost sight of, or whose devices Ray has given up, must not go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import threading
from typing import Any

import msgspec
import uvloop

from inference.engines import engine_kind
from inference.engines.errors import EngineError
from inference.pool.ray import files
from inference.pool.ray.certificates import Pair, context, make_pair
from inference.pool.ray.engine_process import EngineProcess
from inference.pool.ray.errors import OrderRefused
from inference.pool.ray.lines import Lines
from inference.pool.ray.model_files import Abandoned, verify
from inference.pool.ray.order import Order, Placed, decode, encode
from inference.pool.ray.splice import End

log = logging.getLogger(__name__)

CALL_S = 60.0  # the tether calls at once; if it does not, it is dead
SILENT_S = 15.0
HANDSHAKE_S = 5.0
MAX_BEHIND_BYTES = 1024 * 1024  # of the engine's words; more is left out while the tether does not read
TALK, REQUEST = b"T", b"R"  # a connection's first byte
_GOODBYE_S = 2.0


class Node:
    """One engine, its port and its end."""

    def __init__(self, order: Order, pair: Pair) -> None:
        self._order = order
        self._tls = context(pair, order.certificate, server=True)
        kind = engine_kind(order.engine_kind)
        self._command, self._environment = kind.command(order.spec), kind.environment(order.spec)
        self._talk: Lines | None = None
        self._engine: EngineProcess | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._unwanted = threading.Event()
        self._left_out = 0
        self._over = asyncio.Event()

    async def listen(self) -> int:
        """Open the port; which one it is."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Caller(self), self._order.address, 0, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S
        )
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def run(self) -> None:
        """Return once the engine has ended, or nobody wants it."""
        loop = asyncio.get_running_loop()
        loop.add_reader(0, self._input_ended)
        late = loop.call_later(CALL_S, self._nobody_called)
        await self._over.wait()
        late.cancel()
        loop.remove_reader(0)
        if self._talk is not None:
            self._talk.close()
            await asyncio.sleep(0)

    def converse(self) -> Lines | None:
        """The tether calls: the engine is started. None for a second call."""
        if self._talk is not None:
            return None
        self._talk = Lines(self._heard, self._lost, SILENT_S)
        self._preparing = asyncio.get_running_loop().create_task(self._prepare())
        return self._talk

    async def _prepare(self) -> None:
        """Verify the model, which reads all of it where it is new here, and start the engine."""
        spec = self._order.spec
        try:
            folder, digest = spec.socket.parent, self._order.digest
            count = await asyncio.to_thread(verify, spec.model_path, digest, folder, self._unwanted)
            if self._unwanted.is_set():
                raise Abandoned
            self._words(f"the model's files are the registered ones ({count} of them read)\n".encode())
            self._begin()
        except Abandoned:
            self._ended({"status": 0})
        except (OrderRefused, OSError) as error:  # other files, or no room on the disk, or for a process
            self._could_not_begin(str(error))
        except Exception as error:
            # Top of the task: whoever waits must hear of it, and the devices must be let go.
            log.exception("an engine could not be prepared")
            self._could_not_begin(f"{type(error).__name__}: {error}")

    @property
    def socket(self) -> str:
        """The engine's."""
        return str(self._order.spec.socket)

    def _begin(self) -> None:
        self._engine = EngineProcess(self._command, self._environment)
        self._engine.watch(self._words, self._ended)
        record = {"pid": self._engine.pid, "started": self._engine.started}
        files.process_file(self._order.spec).write_bytes(msgspec.json.encode(record))

    def _could_not_begin(self, why: str) -> None:
        self._words(f"the engine could not be started: {why}\n".encode())
        if self._engine is not None:
            self._engine.kill()
        self._ended({"status": 1})

    def _heard(self, what: dict[str, Any]) -> None:
        if what.get("end") is True:
            self._unwanted.set()
            if self._engine is not None:
                self._engine.end()
        if isinstance(what.get("adapters"), dict):
            self._lay_down(what["adapters"], what.get("number"))

    def _lay_down(self, adapters: dict[str, Any], number: object) -> None:
        """What the pool says of the engine's adapters, for its plugin, which loads nothing else."""
        try:
            files.replace(self._order.spec.adapters, msgspec.json.encode(adapters))
        except OSError as error:  # the engine goes on with what it has
            self._words(f"it can't be told of its adapters: {error}\n".encode())
            return
        if self._talk is not None:
            self._talk.say({"told": number})

    def _words(self, words: bytes) -> None:
        if self._talk is None:
            return
        if self._talk.behind_bytes > MAX_BEHIND_BYTES:
            self._left_out += len(words)
            return
        gap = f"[{self._left_out} bytes left out]\n" if self._left_out else ""
        self._left_out = 0
        self._talk.say({"log": gap + words.decode(errors="replace")})

    def _ended(self, how: dict[str, Any]) -> None:
        self._engine = None
        if self._talk is not None:
            self._talk.say({"ended": how})
        asyncio.get_running_loop().call_later(_GOODBYE_S, self._over.set)  # the tether hangs up sooner

    def _lost(self, _why: str) -> None:
        self._stop_now()

    def _input_ended(self) -> None:
        if not os.read(0, 1024):
            self._stop_now()

    def _nobody_called(self) -> None:
        if self._talk is None:
            self._over.set()

    def _stop_now(self) -> None:
        self._unwanted.set()
        if self._engine is not None:
            self._engine.kill()
        self._over.set()


class _Caller(End):
    """A connection of the tether's: its first byte says what it is for."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.hold(False)

    def data_received(self, data: bytes) -> None:
        if self._begun:
            super().data_received(data)
            return
        self._begun = True
        assert self.transport is not None  # noqa: S101 - it has just read
        if data[:1] == REQUEST:
            self.hold(True)
            super().data_received(data[1:])
            asyncio.get_running_loop().create_task(self._to_engine())
            return
        talk = self._node.converse() if data[:1] == TALK else None
        if talk is None:
            self.transport.abort()
            return
        self.transport.set_protocol(talk)
        talk.connection_made(self.transport)
        if data[1:]:
            talk.data_received(data[1:])

    async def _to_engine(self) -> None:
        engine = End()
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: engine, self._node.socket)
        except OSError:
            self.close()
            return
        self.join(engine)


async def _serve(order: Order) -> None:
    pair = make_pair(f"node {order.life_id}")
    node = Node(order, pair)
    _answer(Placed(order.address, await node.listen(), pair.certificate))
    await node.run()


def _answer(placed: Placed) -> None:
    sys.stdout.buffer.write(encode(placed) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Read the order, run the engine, leave nothing."""
    if os.fork():
        os._exit(0)  # no child of Ray's worker, which kills those at its end before they could tidy up
    os.setsid()
    order: Order = decode(sys.stdin.buffer.readline(), Order)
    spec = order.spec
    try:
        files.make_folders(spec)
        files.check(spec, order.model)
        held = files.hold_devices(spec, order.node)
        uvloop.run(_serve(order))
        del held  # until here
    except (OrderRefused, EngineError, OSError) as error:
        _answer(Placed(refused=str(error)))
    finally:
        files.process_file(spec).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            spec.socket.unlink(missing_ok=True)
        for folder in (spec.scratch, spec.home):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
