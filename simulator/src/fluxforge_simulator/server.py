"""The server: HTTP and WebSocket, for every venue at once; on loopback unless told otherwise.

A venue's `scheme://HOST/path` is served as `http|ws://127.0.0.1:PORT/HOST/path`: the host is the first segment of the
path.
"""

import asyncio
import errno
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import orjson
from aiohttp import WSMsgType, web

from fluxforge.ports.clock import Clock
from fluxforge_simulator.connection import Connection
from fluxforge_simulator.connection_fault import ConnectionFault, Fault, fault_from_json
from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Frame, Kind, Reply, Request
from fluxforge_simulator.ledger import Ledger
from fluxforge_simulator.stage import Part, Stage
from fluxforge_simulator.switch import FaultSwitch

_BEAT_S = 1.0
_CLOSE_WAIT_S = 1.0
_GOING_AWAY = 1001
_UNWELL = b'{"code":-1003,"msg":"the venue is not well"}'
_GONE_POLL_S = 0.05


class Server:
    """Routes requests to stages by the venue's host."""

    def __init__(self, stages: Sequence[Stage], ledger: Ledger, clock: Clock, switch: FaultSwitch) -> None:
        self.port = 0
        self._switch = switch
        switch.go_away = self._go_away
        self._stages = stages
        self._ledger = ledger
        self._clock = clock
        self._connections = 0
        self._sockets: dict[web.WebSocketResponse, Connection] = {}
        application = web.Application(client_max_size=1 << 20)
        application.router.add_post("/-/faults", self._inject)
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
        self._site = web.TCPSite(self._runner, host, port)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            reason = "in use by another process" if error.errno == errno.EADDRINUSE else str(error.strerror)
            raise OptionError("--port", str(port), f"a free port of {host}, or 0 for any", reason) from error
        self.port = self._runner.addresses[0][1]
        self._host = host

    async def _go_away(self, connections: Sequence[Connection], lasts_s: float) -> None:
        """Stop listening for a while, and reset what stands once nobody can come back.

        An idle HTTP connection is reset too: a client would take it for its next handshake.
        """
        await self._site.stop()
        for connection in connections:
            connection.abort()
        for handler in list(self._runner.server.connections if self._runner.server else ()):
            if handler.transport is not None:
                handler.transport.abort()
        await asyncio.sleep(lasts_s)
        self._site = web.TCPSite(self._runner, self._host, self.port)
        await self._site.start()

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        await self._runner.cleanup()

    async def _close_sockets(self, application: web.Application) -> None:  # noqa: ARG002 - aiohttp passes it
        for socket, connection in tuple(self._sockets.items()):
            if connection.tampering.is_frozen:
                connection.abort()
                continue
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

    async def _inject(self, request: web.Request) -> web.Response:
        """Begin the fault in the body."""
        try:
            count = self._switch.inject(fault_from_json(await request.read()))
        except OptionError as error:
            return _json(Reply(orjson.dumps({"error": str(error)}), 400))
        return _json(Reply(orjson.dumps({"connections": count})))

    def _met(self, stage: Stage, kind: Fault) -> ConnectionFault | None:
        fault = self._switch.awaited(stage.exchange, kind)
        if fault is not None:
            self._switch.met(fault)
        return fault

    async def _answer(self, request: web.Request, host: str, stage: Stage) -> web.Response:
        path = "/" + request.match_info.get("path", "")
        fault = self._met(stage, Fault.REST)
        if fault is not None:
            reply: Reply | None = Reply(_UNWELL, fault.status)
        else:
            reply = stage.answer(Request(request.method, host, path, dict(request.query)), self.port)
        if reply is None:
            reply = Reply(orjson.dumps({"error": f"the simulated {stage.exchange} has no {path}"}), 404)
        told = None if fault is None else fault.fault
        frame = Frame(reply.body, Kind.REST, reply.channel, reply.symbol, reply.key, fault=told)
        self._ledger.enter(frame, conn=0, exchange=stage.exchange, sent_ns=self._clock.wall_ns())
        return _json(reply, {} if fault is None else fault.headers)

    async def _converse(self, request: web.Request, stage: Stage) -> web.StreamResponse:
        fault = self._met(stage, Fault.HANDSHAKE)
        if fault is not None:
            return _json(Reply(_UNWELL, fault.status), fault.headers)
        socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False)
        await socket.prepare(request)
        self._connections += 1
        transport = request.transport
        assert transport is not None  # the handshake has just been sent on it
        connection = Connection(self._connections, stage.exchange, socket, self._ledger, self._clock, transport.abort)
        self._sockets[socket] = connection
        self._switch.connections.add(connection)
        part = stage.enter(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(connection.write()), tasks.create_task(_beat(part))]
                await _read(socket, connection, part)
                if connection.tampering.is_frozen:
                    await _gone(transport)
                for helper in helpers:
                    helper.cancel()
        finally:
            connection.closed.set()
            part.leave()
            del self._sockets[socket]
            self._switch.connections.discard(connection)
        return socket


async def _read(socket: web.WebSocketResponse, connection: Connection, part: Part) -> None:
    async for message in socket:
        if connection.tampering.is_frozen:
            continue
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


async def _gone(transport: asyncio.BaseTransport) -> None:
    """Wait for the client to give up: a frozen peer does not answer its goodbye."""
    while not transport.is_closing():  # noqa: ASYNC110 - a transport tells nobody but its protocol
        await asyncio.sleep(_GONE_POLL_S)


def _json(reply: Reply, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    return web.Response(body=reply.body, status=reply.status, headers=headers, content_type="application/json")
