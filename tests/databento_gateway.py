"""A gateway of Databento on loopback: speaks the Live protocol to the official client, and fails as it is told to.

What a session brings stands in a feed: records that are there already are replayed to whoever asks for them by a begin
(filtered by the time of their event, as the real one does), those that are added later are sent as they come. Bytes
are made by the official package.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from databento_dbn import (
    ErrorCode,
    ErrorMsg,
    Metadata,
    RType,
    SType,
    SymbolMappingMsg,
    SystemCode,
    SystemMsg,
)

KEY = "db-0123456789abcdefghijklmnop"
_SCHEMAS = {
    RType.MBP_0: "trades",
    RType.MBP_1: "mbp-1",
    RType.MBP_10: "mbp-10",
    RType.MBO: "mbo",
    RType.OHLCV_1S: "ohlcv-1s",
    RType.OHLCV_1M: "ohlcv-1m",
    RType.OHLCV_1H: "ohlcv-1h",
    RType.OHLCV_1D: "ohlcv-1d",
    RType.INSTRUMENT_DEF: "definition",
}
NEVER = 2**64 - 1


@dataclass
class Subscription:
    """One request of a client."""

    schema: str
    symbols: list[str]
    stype_in: str
    start: int | None
    snapshot: bool


@dataclass
class Client:
    """One connection of a client, as the gateway knows it."""

    writer: asyncio.StreamWriter
    signed: dict[str, str] = field(default_factory=dict)
    subscriptions: list[Subscription] = field(default_factory=list)
    is_started: bool = False

    def send(self, *records: Any) -> None:
        self.writer.write(b"".join(bytes(record) for record in records))

    def wants(self, record: Any, names: Mapping[int, str]) -> Subscription | None:
        name = names.get(record.instrument_id)
        schema = _SCHEMAS[record.rtype]
        return next((one for one in self.subscriptions if one.schema == schema and name in one.symbols), None)


class Gateway:
    """`names`: symbols by instrument id. The faults are attributes; they hold for the connections that come next."""

    def __init__(self, names: Mapping[int, str], *, port: int = 0, dataset: str = "GLBX.MDP3") -> None:
        self.names = dict(names)
        self.port = port
        self.dataset = dataset
        self.history: list[Any] = []
        self.snapshots: list[Any] = []
        """Records of `mbo` that whoever asks for a snapshot is sent first."""
        self.clients: list[Client] = []
        self.session_count = 0
        self.key = KEY
        self.refuses_dataset: str | None = None
        self.refuses_subscription: tuple[ErrorCode, str] | None = None
        self.refuses_replay = False
        self.tells_before_refusal: list[Any] = []
        self.says_replayed = True
        self.is_mute = False
        self.sends_heartbeats = True
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Go away with all connections; `start` comes back on the same port."""
        if self._server is not None:
            self._server.close()
        self.drop()
        await asyncio.gather(*self._tasks)

    def drop(self) -> None:
        """Break every connection."""
        for client in self.clients:
            client.writer.transport.abort()
        self.clients.clear()

    def add(self, *records: Any) -> None:
        """Happen: every started client that asked for it is sent it, and history has it."""
        self.history += records
        for client in self.clients:
            if client.is_started:
                client.send(*(record for record in records if client.wants(record, self.names)))

    def say(self, *messages: Any) -> None:
        """Send messages or raw bytes of the gateway to every client."""
        for client in self.clients:
            client.send(*messages)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        client = Client(writer)
        self.clients.append(client)
        try:
            if not self.is_mute and await self._sign_in(client, reader):
                await self._session(client, reader)
            elif self.is_mute:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if client in self.clients:
                self.clients.remove(client)
            writer.close()

    async def _sign_in(self, client: Client, reader: asyncio.StreamReader) -> bool:
        challenge = secrets.token_hex(8)
        client.writer.write(f"lsg_version=0.5.3\ncram={challenge}\n".encode())
        client.signed = await _line(reader)
        digest = hashlib.sha256(f"{challenge}|{self.key}".encode()).hexdigest()
        refusal = None
        if client.signed["auth"] != f"{digest}-{self.key[-5:]}":
            refusal = "Authentication failed."
        elif client.signed["dataset"] != self.dataset:
            refusal = f"Unknown dataset {client.signed['dataset']}"
        elif self.refuses_dataset:
            refusal = self.refuses_dataset
        if refusal:
            client.writer.write(f"success=0|error={refusal}\n".encode())
            return False
        self.session_count += 1
        client.writer.write(f"success=1|session_id={self.session_count}\n".encode())
        return True

    async def _session(self, client: Client, reader: asyncio.StreamReader) -> None:
        while True:
            request = await _line(reader)
            if "start_session" in request:
                break
            client.subscriptions.append(_subscription(request))
        client.writer.write(self._metadata().encode())
        refusal = self.refuses_subscription
        if self.refuses_replay and any(one.start for one in client.subscriptions):
            refusal = (ErrorCode.REPLAY_DATA_AGED_OUT, "Replay data has aged out")
        if refusal:
            client.send(*self.tells_before_refusal, ErrorMsg(ts_event=1, code=refusal[0], err=refusal[1]))
            await client.writer.drain()
            return
        for one in client.subscriptions:
            self._open(client, one)
        client.is_started = True
        beat_s = float(client.signed.get("heartbeat_interval_s", 30))
        while True:
            try:
                async with asyncio.timeout(beat_s):
                    one = _subscription(await _line(reader))
            except TimeoutError:
                if self.sends_heartbeats:
                    client.send(SystemMsg(ts_event=1, code=SystemCode.HEARTBEAT, msg="Heartbeat"))
            else:
                client.subscriptions.append(one)
                self._open(client, one)

    def _open(self, client: Client, one: Subscription) -> None:
        """Answer a subscription: acknowledged, its symbols mapped, its snapshot or what it missed."""
        client.send(SystemMsg(ts_event=1, code=SystemCode.SUBSCRIPTION_ACK, msg=f"Subscription to {one.schema} ok"))
        for instrument_id, name in self.names.items():
            if name in one.symbols:
                client.send(mapping(instrument_id, name))
        if one.snapshot:
            client.send(*(each for each in self.snapshots if client.wants(each, self.names)))
        if one.start is not None:
            told = (each for each in self.history if client.wants(each, self.names) is one)
            client.send(*(each for each in told if each.ts_event >= one.start))
            if self.says_replayed:
                words = f"Finished {one.schema} replay"
                client.send(SystemMsg(ts_event=1, code=SystemCode.REPLAY_COMPLETED, msg=words))

    def _metadata(self) -> Metadata:
        return Metadata(
            dataset=self.dataset, start=1, stype_in=None, stype_out=SType.INSTRUMENT_ID, schema=None, version=3
        )


def mapping(instrument_id: int, name: str) -> SymbolMappingMsg:
    return SymbolMappingMsg(
        publisher_id=0,
        instrument_id=instrument_id,
        ts_event=1,
        stype_in=SType.RAW_SYMBOL,
        stype_in_symbol=name,
        stype_out=SType.INSTRUMENT_ID,
        stype_out_symbol=name,
        start_ts=NEVER,
        end_ts=NEVER,
    )


async def _line(reader: asyncio.StreamReader) -> dict[str, str]:
    text = (await reader.readuntil(b"\n")).decode().strip()
    pairs: Iterable[tuple[str, str, str]] = (token.partition("=") for token in text.split("|"))
    return {name: value for name, _, value in pairs}


def _subscription(request: Mapping[str, str]) -> Subscription:
    return Subscription(
        schema=request["schema"],
        symbols=request["symbols"].split(","),
        stype_in=request["stype_in"],
        start=int(request["start"]) if "start" in request else None,
        snapshot=request["snapshot"] == "1",
    )
