"""Serve: a stand-in on loopback that says over websockets and REST what an exchange said at capture.

Any client that is led here (`via`) gets the frames as they were. A connection gets the next recorded one of its path.
A frame waits until as many messages were heard as at capture, since they may be answers, but not for ever: another
client may need fewer.
"""

import asyncio
import contextlib
from typing import Final, Self

from aiohttp import WSMsgType, web

from fluxforge_collector.replay.script import Conversation, Script, bare, is_keepalive

_NS: Final = 1_000_000_000
_PATIENCE_S: Final = 3.0
_HOST: Final = "127.0.0.1"
_FRAMES_PER_TURN: Final = 50
_FRAME_BYTES_MAX: Final = 2**24


class WireServer:
    """Serves a script while entered. `speed`: a multiple of the recorded pace, 0 as fast as the client takes it."""

    def __init__(self, script: Script, *, port: int, speed: float) -> None:
        self._script = script
        self._left = list(script.conversations)
        self._wanted_port = port
        self._speed = speed
        self.port = 0

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The port cannot be taken.
        """
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, self._wanted_port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection and stop listening."""
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path
        if request.headers.get("Upgrade", "").lower() == "websocket":
            fitting = [each for each in self._left if bare(each.path) == bare(path)]
            chosen = next((each for each in fitting if each.path == path), fitting[0] if fitting else None)
            if chosen is None:
                return web.Response(status=404, text=f"the recording has no further connection to {path}")
            self._left.remove(chosen)
            return await self._converse(request, chosen)
        answer = self._script.answer(request.method, path)
        if answer is None:
            return web.Response(status=404, text=f"the recording does not answer {request.method} {path}")
        return web.Response(status=answer.status or 200, text=answer.text, content_type="application/json")

    async def _converse(self, request: web.Request, conversation: Conversation) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=_FRAME_BYTES_MAX)
        await socket.prepare(request)
        heard = _Heard()
        try:
            async with asyncio.TaskGroup() as tasks:
                playing = tasks.create_task(self._play(socket, conversation, heard))
                async for message in socket:
                    if message.type in {WSMsgType.TEXT, WSMsgType.BINARY} and not is_keepalive(message.data):
                        heard.add()
                playing.cancel()
        except* ConnectionError:
            pass  # the client has left
        return socket

    async def _play(self, socket: web.WebSocketResponse, conversation: Conversation, heard: "_Heard") -> None:
        began_s = asyncio.get_running_loop().time()
        asked = 0
        for number, (at_ns, frame) in enumerate(conversation.frames):
            if frame.sent:
                asked += 1
                continue
            await heard.until(asked)
            await self._until(began_s, at_ns)
            if isinstance(frame.payload, str):
                await socket.send_str(frame.payload)
            else:
                await socket.send_bytes(frame.payload)
            if number % _FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)
        if conversation.lasts_ns is not None:
            await self._until(began_s, conversation.lasts_ns)
            await socket.close()

    async def _until(self, began_s: float, at_ns: int) -> None:
        if self._speed:
            wait_s = began_s + at_ns / _NS / self._speed - asyncio.get_running_loop().time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)


class _Heard:
    """How many messages a client has sent."""

    def __init__(self) -> None:
        self._count = 0
        self._more = asyncio.Event()

    def add(self) -> None:
        self._count += 1
        self._more.set()

    async def until(self, count: int) -> None:
        """Wait for so many, as long as it is worth it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while self._count < count:
                    self._more.clear()
                    await self._more.wait()
        self._count = max(self._count, count)  # what did not come is not waited for again
