"""A TCP proxy between a NATS client and its server that withholds, loses, delays and dribbles, and cuts connections."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_ACK = b'{"stream":"MD_'
_CHUNK_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Weather:
    """What becomes of the bytes on their way; may be changed at any time.

    `ack_loss`: share of the acknowledgements of lanes' streams that never arrive. `chunk_bytes`: at most so many bytes
    of a client's at once, `answer_bytes` of the server's. `delay_s`: each chunk waits up to this long. `reset_bytes`:
    a connection is reset once about so many bytes of its client's went through, in the middle of whatever that is.
    """

    ack_loss: float = 0.0
    chunk_bytes: int = _CHUNK_BYTES
    answer_bytes: int = _CHUNK_BYTES
    delay_s: float = 0.0
    reset_bytes: int | None = None


class FaultProxy:
    """Stands between client and server. Held answers come late, or never when the connection is cut meanwhile."""

    def __init__(self, url: str, chance: random.Random | None = None) -> None:
        self.weather = Weather()
        self.acks_lost = 0
        self.resets = 0
        self.connections = 0
        self._chance = chance or random.Random(0)
        self._target = urlsplit(url)
        self._answers = asyncio.Event()
        self._answers.set()
        self._is_deaf = False
        self._is_away = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
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

    def say(self, words: bytes) -> None:
        """Say something in the server's place, on every connection of a client."""
        for writer in tuple(self._clients):
            writer.write(words)

    def cut(self) -> None:
        """Cut every connection; what was held is lost."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def go_away(self) -> None:
        """Cut every connection and refuse new ones."""
        self._is_away = True
        self.cut()

    def come_back(self) -> None:
        """Serve again."""
        self._is_away = False

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
        self._clients.add(writer)
        try:
            if self._is_away:
                raise ConnectionRefusedError
            up_reader, up_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            self._clients.discard(writer)
            self._tasks.discard(asyncio.current_task())
            return
        self.connections += 1
        self._writers.add(up_writer)
        with suppress(ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await asyncio.gather(self._ask(reader, up_writer, writer), self._answer(up_reader, writer))
        for each in (writer, up_writer):
            self._writers.discard(each)
            self._clients.discard(each)
            each.transport.abort()
        self._tasks.discard(asyncio.current_task())

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        budget = self._budget()
        while data := await reader.read(self.weather.chunk_bytes):
            if self._is_deaf:
                await asyncio.Event().wait()
            await self._linger()
            if self.weather.reset_bytes is None:
                budget = None
            elif budget is None:
                budget = self._budget()
            if budget is not None and len(data) >= budget:
                server.write(data[:budget])
                await server.drain()
                self.resets += 1
                _reset(client)
                _reset(server)
                raise ConnectionResetError
            if budget is not None:
                budget -= len(data)
            server.write(data)
            await server.drain()
        raise ConnectionResetError

    async def _answer(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        released = self._answers
        while True:
            data = await self._next_answer(reader)
            await released.wait()
            step = self.weather.answer_bytes
            for begin in range(0, len(data), step):
                await self._linger()
                client.write(data[begin : begin + step])
                await client.drain()
                if step < _CHUNK_BYTES:
                    await asyncio.sleep(0)  # each piece a packet of its own

    async def _next_answer(self, reader: asyncio.StreamReader) -> bytes:
        """Return the server's next whole protocol message, without the acknowledgements that get lost."""
        while True:
            line = await reader.readuntil(b"\r\n")
            words = line.split()
            if words[0] not in {b"MSG", b"HMSG"}:
                return line
            body = await reader.readexactly(int(words[-1]) + 2)
            if body.startswith(_ACK) and self._chance.random() < self.weather.ack_loss:
                self.acks_lost += 1
                continue
            return line + body

    async def _linger(self) -> None:
        if self.weather.delay_s:
            await asyncio.sleep(self._chance.uniform(0, self.weather.delay_s))

    def _budget(self) -> int | None:
        most = self.weather.reset_bytes
        return None if most is None else self._chance.randint(max(1, most // 2), most)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def fault_proxy(url: str, chance: random.Random | None = None) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(url, chance)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
