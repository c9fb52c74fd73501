"""A TCP proxy that withholds what a server says, and cuts connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class FaultProxy:
    """Stands between client and server. Held answers come late, or never when the connection is cut meanwhile."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._answers = asyncio.Event()
        self._answers.set()
        self._is_deaf = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"nats://127.0.0.1:{port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def hold_answers(self) -> None:
        self._answers.clear()

    def release_answers(self) -> None:
        self._answers.set()

    def go_deaf(self) -> None:
        """Take nothing more from the connections that stand, and answer nothing on them, without closing them."""
        self._is_deaf = True
        self._answers.clear()

    def hear_again(self) -> None:
        """Serve new connections; the deaf ones stay deaf."""
        self._is_deaf = False
        self._answers = asyncio.Event()
        self._answers.set()

    def cut(self) -> None:
        """Cut every connection; what was held is lost."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        self._server.close()
        self.cut()
        self._answers.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(up_writer)
        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(
                self._pipe(reader, up_writer, answers=False), self._pipe(up_reader, writer, answers=True)
            )
        for each in (writer, up_writer):
            self._writers.discard(each)
            each.transport.abort()
        self._tasks.discard(asyncio.current_task())

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        released = self._answers
        while data := await reader.read(65536):
            if answers:
                await released.wait()
            elif self._is_deaf:
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def fault_proxy(url: str) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
