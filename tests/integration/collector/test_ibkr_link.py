"""Where TWS should listen and something else does: one reason, in words, and nothing left open."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fluxforge.runtime.settings.ibkr import IbkrSettings
from fluxforge_collector.ibkr_source import link as module
from fluxforge_collector.ibkr_source.link import GatewayUnavailableError, Link
from tests.ports import kept_port
from tests.tws import wire

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Deaf:
    """A listener to which nothing matters."""

    def error(self, *_said: object) -> None: ...

    def undecoded(self, *_said: object) -> None: ...


async def refusal(port: int) -> str:
    with pytest.raises(GatewayUnavailableError) as refused:
        await Link(Deaf()).open(IbkrSettings(port=port))
    assert refused.value.address == f"127.0.0.1:{port}"
    return refused.value.reason


async def refusal_of(answer: bytes, *, closes: bool) -> str:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"v157..178")
        writer.write(answer)
        if not closes:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await refusal(server.sockets[0].getsockname()[1])


async def test_nobody_listens() -> None:
    with kept_port() as port:
        assert "Connect call failed" in await refusal(port)


async def test_it_closes_at_once_as_where_the_address_is_not_trusted() -> None:
    assert await refusal_of(b"", closes=True) == "it closed the connection; do its API settings trust this address?"


async def test_it_is_older_than_the_protocol() -> None:
    assert "version must be >= 972" in await refusal_of(b"\0\0\0\x09100\x002024\0", closes=False)


async def test_it_speaks_something_else() -> None:
    hello = wire.frame(wire.SERVER_VERSION, "20240701 15:58:01 EST") + wire.frame("what", "is", "this")
    assert await refusal_of(hello, closes=False) == (
        "what came cannot be read: ValueError: invalid literal for int() with base 10: 'what'"
    )


async def test_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_S", 0.2)
    assert await refusal_of(b"", closes=False) == "no session within 0.2 s"
