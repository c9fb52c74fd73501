"""The server: HTTP and WebSocket, for every venue at once; on loopback unless told otherwise.

A venue's `scheme://HOST/path` is served as `http|ws://127.0.0.1:PORT/HOST/path`: the host is the first segment of the
path.
"""

import asyncio
import errno
from collections.abc import Sequence

import orjson
from aiohttp import WSMsgType, web

from fluxforge.ports.clock import Clock
from fluxforge_simulator.connection import Connection
from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Kind, Reply, Request
from fluxforge_simulator.ledger import Ledger
from fluxforge_simulator.stage import Part, Stage

_BEAT_S = 1.0
_CLOSE_WAIT_S = 1.0
_GOING_AWAY = 1001


class Server:
    """Routes requests to stages by the venue's host."""

    def __init__(self, stages: Sequence[Stage], ledger: Ledger, clock: Clock) -> None:
        self.port = 0
        self._stages = stages
        self._ledger = ledger
        self._clock = clock
        self._connections = 0
        self._sockets: set[web.WebSocketResponse] = set()
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{host}/{path:.*}", self._handle)
        application.router.add_route("*", "/{host}", self._handle)
        application.on_shutdown.append(self._close_sockets)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSE_WAIT_S)

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            OptionError: the address cannot be taken. Nothing listens.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            reason = "in use by another process" if error.errno == errno.EADDRINUSE else str(error.strerror)
            raise OptionError("--port", str(port), f"a free port of {host}, or 0 for any", reason) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        await self._runner.cleanup()

    async def _close_sockets(self, application: web.Application) -> None:  # noqa: ARG002 - aiohttp passes it
        for socket in tuple(self._sockets):
            await socket.close(code=_GOING_AWAY, message=b"the simulator ends", drain=False)

    def _stage(self, host: str) -> Stage | None:
        name = host.partition(":")[0]
        return next((stage for stage in self._stages if stage.serves(name)), None)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        host = request.match_info["host"]
        stage = self._stage(host)
        if stage is None:
            known = ", ".join(stage.exchange for stage in self._stages)
            return _json(Reply(orjson.dumps({"error": f"no venue at {host!r}; served here: {known}"}), 404))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._converse(request, stage)
        return await self._answer(request, host, stage)

    async def _answer(self, request: web.Request, host: str, stage: Stage) -> web.Response:
        path = "/" + request.match_info.get("path", "")
        reply = stage.answer(Request(request.method, host, path, dict(request.query)), self.port)
        if reply is None:
            reply = Reply(orjson.dumps({"error": f"the simulated {stage.exchange} has no {path}"}), 404)
        self._ledger.enter(
            conn=0,
            exchange=stage.exchange,
            kind=Kind.REST,
            payload=reply.body,
            sent_ns=self._clock.wall_ns(),
            channel=reply.channel,
            symbol=reply.symbol,
            key=reply.key,
        )
        return _json(reply)

    async def _converse(self, request: web.Request, stage: Stage) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False, compress=False)
        await socket.prepare(request)
        self._connections += 1
        transport = request.transport
        assert transport is not None  # the handshake has just been sent on it
        connection = Connection(self._connections, stage.exchange, socket, self._ledger, self._clock, transport.abort)
        self._sockets.add(socket)
        part = stage.enter(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(connection.write()), tasks.create_task(_beat(part))]
                await _read(socket, connection, part)
                for helper in helpers:
                    helper.cancel()
        finally:
            connection.closed.set()
            part.leave()
            self._sockets.discard(socket)
        return socket


async def _read(socket: web.WebSocketResponse, connection: Connection, part: Part) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            part.hear(message.data)
        elif message.type is WSMsgType.PING:
            await connection.answer_ping(bytes(message.data))
        elif message.type is WSMsgType.PONG:
            connection.take_pong(bytes(message.data))


async def _beat(part: Part) -> None:
    while True:
        await asyncio.sleep(_BEAT_S)
        part.beat()


def _json(reply: Reply) -> web.Response:
    return web.Response(body=reply.body, status=reply.status, content_type="application/json")
