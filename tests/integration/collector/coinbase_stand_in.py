"""A stand-in for Coinbase on loopback: the simulator's dialogue, and faults that a test switches on while it runs."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from time import time_ns
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from fluxforge_simulator.frame import Frame, Kind, Request
from fluxforge_simulator.market.market import Market
from fluxforge_simulator.venues.coinbase import COINBASE, CoinbaseDialogue, CoinbaseVenue
from fluxforge_simulator.venues.venue import Floor

STEP_S = 0.02


@dataclass(eq=False)
class Client:
    """One connection. `told` is what left for it."""

    socket: web.WebSocketResponse
    dialogue: CoinbaseDialogue
    offered: str
    told: list[Frame] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Frames leave in the order of their numbers."""


@dataclass
class StandIn:
    """What it does, and what it was told; everything may be changed while it runs."""

    port: int = 0
    venue: CoinbaseVenue = COINBASE
    patience_s: float = 5.0
    """A connection of which there is no `subscribe` for so long is closed."""
    refused: frozenset[str] = frozenset()
    compress: bool = False
    is_silent: bool = False
    is_paused: bool = False
    """Whether its markets stand still."""
    handshakes: list[web.Response | None] = field(default_factory=list)
    """Answers to the next connections, in place of one; None: there never is one."""
    replies: list[web.Response] = field(default_factory=list)
    """Answers to the next requests, in place of the products."""
    admit: Callable[[dict[str, Any]], str | None] = lambda _: None
    """Says why a message is refused."""
    clients: list[Client] = field(default_factory=list)
    """Every connection there was, the last one last."""
    heard: list[dict[str, Any]] = field(default_factory=list)
    handshaken: int = 0
    spoil: Callable[[Frame], Frame | None] = lambda frame: frame
    """What becomes of a frame before it leaves; None: it is lost."""
    floor: Floor = field(init=False)
    _markets: list[Market] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.floor = Floor("coinbase", self.venue.instruments, seed=1, trade_share=0.5, opened=self._markets.append)

    @property
    def standing(self) -> list[Client]:
        return [client for client in self.clients if not client.socket.closed]

    def told(self, kinds: tuple[Kind, ...] = (Kind.DATA, Kind.SNAPSHOT)) -> dict[tuple[str, str], list[Any]]:
        """Return the frames that left, parsed, by feed as the collector names it."""
        found: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for client in self.clients:
            for frame in client.told:
                if frame.kind in kinds and frame.channel and frame.symbol:
                    found[frame.channel, frame.symbol.replace("/", "-")].append(orjson.loads(frame.payload))
        return found

    async def step(self) -> None:
        """Let every market do one step and tell it."""
        for market in tuple(self._markets):
            step = market.step()
            for client in self.standing:
                await self._tell(client, partial(client.dialogue.tell, step, time_ns()))

    async def _tell(self, client: Client, say: Callable[[], list[Frame]]) -> None:
        async with client.turn:
            for frame in say():
                left = None if self.is_silent else self.spoil(frame)
                if left is None or client.socket.closed:
                    continue
                try:
                    await client.socket.send_str(left.payload.decode())
                except ConnectionError:
                    return
                client.told.append(left)

    async def run(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(STEP_S)
            if self.is_paused:
                continue
            await self.step()
            beats += 1
            if beats % 10 == 0:
                for client in self.standing:
                    await self._tell(client, partial(client.dialogue.beat, time_ns()))

    async def products(self, request: web.Request) -> web.Response:
        if self.replies:
            return self.replies.pop(0)
        reply = self.venue.rest(Request("GET", "", request.path, {}), self.floor, 0)
        assert reply is not None
        return web.Response(body=reply.body, content_type="application/json")

    async def converse(self, request: web.Request) -> web.StreamResponse:
        self.handshaken += 1
        if self.handshakes:
            answer = self.handshakes.pop(0)
            return answer if answer is not None else await asyncio.Future()
        socket = web.WebSocketResponse(compress=self.compress, max_msg_size=1 << 20)
        await socket.prepare(request)
        offered = request.headers.get("Sec-WebSocket-Extensions", "")
        client = Client(socket, self.venue.dialogue(self.floor, self.refused), offered)
        self.clients.append(client)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience_s) as patience:
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        await self._hear(client, message.data)
                        patience.reschedule(None)
        await socket.close(code=1008)
        return socket

    async def _hear(self, client: Client, text: str) -> None:
        message = orjson.loads(text)
        self.heard.append(message)
        reason = self.admit(message)
        if reason is not None:
            error = orjson.dumps({"type": "error", "message": reason})
            await self._tell(client, lambda: [Frame(error, Kind.ACK)])
        else:
            await self._tell(client, partial(client.dialogue.hear, text, time_ns()))


@asynccontextmanager
async def stand_in(**begin: Any) -> AsyncIterator[StandIn]:
    """Serve until the block ends; markets step by themselves."""
    made = StandIn(**begin)
    application = web.Application()
    application.router.add_get("/api.coinbase.com/api/v3/brokerage/market/products", made.products)
    application.router.add_get("/advanced-trade-ws.coinbase.com", made.converse)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", made.port)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(made.run())
            yield made
            running.cancel()
    finally:
        for client in made.standing:
            await client.socket.close(code=1001, drain=False)
        await runner.cleanup()
