"""Stands here for an engine on another: `python -m inference.pool.ray.tether ORDER --uds SOCKET`, gate at descriptor 3.

To the pool and the gateway it is the engine: a process that lives as long as it does, ends as it ended, prints what it
prints, hears SIGTERM for it and has its socket. It holds one conversation with the node process and a connection for each
of its callers', over TLS with certificates that both sides made for this life. Killed, it takes the engine along.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from inference.pool.isolate import pass_gate
from inference.pool.ray.certificates import Pair, context, make_pair
from inference.pool.ray.lines import Lines
from inference.pool.ray.node import REQUEST, TALK
from inference.pool.ray.order import Order, Placed, decode, encode
from inference.pool.ray.splice import End
from inference.pool.ray.wish import Courier

GATE = 3
PLACE_S = 150.0
CONNECT_S = 5.0
SILENT_S = 10.0
BACKLOG = 1024


class Tether:
    """One engine's stand-in."""

    def __init__(self, order: Order, socket: Path) -> None:
        self._order = order
        self._socket = socket
        self._placed = Placed()
        self._tls: ssl.SSLContext | None = None
        self._courier = Courier(order.wish, self._say)
        self._talk: Lines | None = None
        self._placing: asyncio.subprocess.Process | None = None
        self._told_to_end = False
        self._over: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def run(self) -> dict[str, Any]:
        """How the engine ended."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        pair = make_pair(f"tether {self._order.life_id}")
        self._placed = await self._place(pair)
        if self._placed.refused:
            _say(f"{self._order.node}: {self._placed.refused}\n")
            return {"status": 0 if self._told_to_end else 1}
        self._tls = context(pair, self._placed.certificate, server=False)
        self._talk = Lines(self._heard, self._lost, SILENT_S, TALK)
        try:
            await self._call(self._talk)
        except (OSError, TimeoutError) as error:
            _say(f"{self._order.node} can't be reached at {self._placed.host}:{self._placed.port}: {_text(error)}\n")
            return {"status": 1}
        if self._told_to_end:
            self._end()
        os.umask(0o177)
        await asyncio.get_running_loop().create_unix_server(lambda: _Request(self), str(self._socket), backlog=BACKLOG)
        return await self._over

    async def _place(self, pair: Pair) -> Placed:
        """Have Ray place a node process."""
        order = replace(self._order, certificate=pair.certificate)
        command = [sys.executable, "-m", "inference.pool.ray.driver", "place"]
        pipe = asyncio.subprocess.PIPE
        self._placing = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        try:
            out, _ = await asyncio.wait_for(self._placing.communicate(encode(order) + b"\n"), PLACE_S)
            placed: Placed = decode(out.splitlines()[-1] if out else b"", Placed)
            return placed
        except TimeoutError:
            return Placed(refused=f"Ray did not place it within {PLACE_S:.0f} s")
        except ValueError:
            return Placed(refused="Ray placed nothing, and did not say why")
        finally:
            if self._placing.returncode is None:
                self._placing.kill()

    async def _call(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """A connection to the node process. Raises: OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            transport, _ = await loop.create_connection(
                lambda: protocol, self._placed.host, self._placed.port, ssl=self._tls
            )
        return transport

    async def forward(self, caller: End) -> None:
        """Join a caller of the socket to the engine."""
        remote = End()
        await self._courier.bring()
        try:
            transport = await self._call(remote)
            transport.write(REQUEST)
        except (OSError, TimeoutError):
            caller.close()
            return
        caller.join(remote)

    def _heard(self, what: dict[str, Any]) -> None:
        if isinstance(what.get("log"), str):
            _say(what["log"])
        if "told" in what:
            self._courier.arrived(what["told"])
        ended = what.get("ended")
        if isinstance(ended, dict) and not self._over.done():
            self._over.set_result(ended)

    def _say(self, what: dict[str, Any]) -> None:
        if self._talk is not None:
            self._talk.say(what)

    def _lost(self, why: str) -> None:
        if not self._over.done():
            _say(f"{self._order.node} is lost: {why}\n")
            self._over.set_result({"status": 1})

    def _end(self) -> None:
        """SIGTERM: what the engine would get."""
        self._told_to_end = True
        if self._talk is not None:
            self._talk.say({"end": True})
        elif self._placing is not None and self._placing.returncode is None:
            self._placing.kill()


class _Request(End):
    def __init__(self, tether: Tether) -> None:
        super().__init__()
        self._tether = tether

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        asyncio.get_running_loop().create_task(self._tether.forward(self))


def _say(words: str) -> None:
    """Into the engine's log, which is this process' output."""
    with contextlib.suppress(OSError):  # a full disk ends no engine
        os.write(1, words.encode(errors="replace"))


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _end_like(how: dict[str, Any]) -> None:
    """Exit with the engine's status, or by its signal."""
    number, status = how.get("signal"), how.get("status")
    if isinstance(number, int) and 0 < number < signal.NSIG:
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(status if isinstance(status, int) and 0 <= status < 256 else 1)


async def _run(order: Order, socket: Path) -> dict[str, Any]:
    return await Tether(order, socket).run()


def main(arguments: list[str]) -> None:
    """Wait for the gate, then be the engine."""
    pass_gate(GATE)
    order, socket = Path(arguments[0]), Path(arguments[2])
    _end_like(uvloop.run(_run(decode(order.read_bytes(), Order), socket)))


if __name__ == "__main__":
    main(sys.argv[1:])
