"""Coinbase without ccxt: beside ccxt on one simulator, and through each fault of a stand-in, to the last frame."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.control import Control
from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings
from fluxforge_collector.coinbase_source import connection
from fluxforge_collector.coinbase_source.source import CoinbaseSource
from fluxforge_collector.settings import collector_settings
from fluxforge_collector.source import Source
from fluxforge_collector.sources import open_source
from fluxforge_simulator.frame import Channel, Feed, Frame, Kind
from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from fluxforge_simulator.venues.coinbase import COINBASE
from tests.integration.collector.coinbase_stand_in import StandIn, stand_in
from tests.integration.collector.rig import LIVELY, PATIENCE_S, Rig, all_channels, all_disconnected, by_feed, events_of
from tests.integration.collector.rig import sent as sent_by
from tests.unit.fluxforge_collector.made import Desk, Line, events, until

pytestmark = pytest.mark.timeout(300)

CHANNELS = ("level2", "market_trades", "ticker")
BOTH = ("BTC/USD", "ETH/USD")
KEY = Ed25519PrivateKey.generate()
CREDENTIALS = {
    "api_key": "organizations/1/apiKeys/2",
    "api_secret": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
}


class Capture:
    """A source that writes to a lane in memory."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.desk = Desk(feeds=tuple(source.feeds), clock=SystemClock())

    def feeds(self) -> dict[tuple[str, str], list[Line]]:
        return by_feed(self.desk.lines())

    def controls(self, *names: str) -> list[Control]:
        return [control for control in self.desk.controls if control.event.value in names]

    async def until(self, condition: Callable[[dict[tuple[str, str], list[Line]]], object]) -> None:
        await until(lambda: condition(self.feeds()), deadline_s=PATIENCE_S)


@asynccontextmanager
async def capturing(tree: dict[str, Any], source: str = "coinbase") -> AsyncIterator[Capture]:
    settings = Settings(**tree)
    lane = collector_settings(settings, Lane(source, "coinbase", "0of1"))
    opened = await open_source(settings, lane, chance=lambda: 0.1, events=events())
    capture = Capture(opened)
    running = asyncio.create_task(opened.run(capture.desk.writer))
    try:
        yield capture
    finally:
        running.cancel()
        await asyncio.wait([running])
        await opened.close()
        await asyncio.sleep(0)


def native(
    port: int, channels: tuple[str, ...] = CHANNELS, markets: tuple[str, ...] = BOTH, **more: Any
) -> dict[str, Any]:
    return {"coinbase": {"via": f"127.0.0.1:{port}", "channels": dict.fromkeys(channels, markets), **more}}


def symbols(control: Control) -> set[tuple[str, str]]:
    return {(feed.channel, feed.symbol) for feed in control.concerned()}


def is_lively(feeds: dict[tuple[str, str], list[Line]], records: int = 5) -> bool:
    return len(feeds) == 6 and all(len(lines) >= records for lines in feeds.values())


async def check_balanced(capture: Capture, venue: StandIn) -> None:
    """Let the markets stand still and all be heard; then everything that left the venue is recorded once, in order.

    Of books that is said of what was recorded alone: changes of those that are not whole are left out.
    """
    venue.is_paused = True
    with suppress(TimeoutError):
        await until(lambda: _identities(capture, venue)[0] == _identities(capture, venue)[1], deadline_s=20)
    recorded, told = _identities(capture, venue)
    assert recorded == told
    for (channel, symbol), lines in capture.feeds().items():
        assert [line.seq for line in lines] == list(range(1, len(lines) + 1))
        if channel == "orderbook":
            stamps = {frame["timestamp"] for frame in venue.told()[channel, symbol]}
            assert {line.data["datetime"] for line in lines} <= stamps


Identities = dict[tuple[str, str], list[str]]


def _identities(capture: Capture, venue: StandIn) -> tuple[Identities, Identities]:
    """Return the trades by id and the tickers by time: those recorded, and those told."""
    feeds = capture.feeds()
    recorded: Identities = {
        feed: [trade["id"] for line in lines for trade in line.data]
        if feed[0] == "trades"
        else [line.data["datetime"] for line in lines]
        for feed, lines in feeds.items()
        if feed[0] != "orderbook"
    }
    told: Identities = {
        feed: [
            trade["trade_id"] for frame in frames for event in frame["events"] for trade in reversed(event["trades"])
        ]
        if feed[0] == "trades"
        else [frame["timestamp"] for frame in frames]
        for feed, frames in venue.told().items()
        if feed[0] != "orderbook"
    }
    return recorded, told


async def test_ccxt_and_we_tell_the_same_of_one_market() -> None:
    async with Simulator(SimulateOptions(exchange="coinbase", pace=LIVELY)) as venue:
        via = {"via": f"127.0.0.1:{venue.port}", "channels": all_channels("coinbase", "BTC", "ETH")}
        tree = {**native(venue.port), "ccxt": {"exchanges": {"coinbase": via}}}
        async with capturing(tree) as ours, capturing(tree, "ccxt") as theirs:
            for capture in (ours, theirs):
                await capture.until(lambda feeds: is_lively(feeds, 60))
    for feed, lines in theirs.feeds().items():
        name = "id" if feed[0] == "trades" else "datetime"
        told = {
            _key(line, name): {**line.data, "nonce": None} if feed[0] == "orderbook" else line.data for line in lines
        }
        mine = {
            _key(line, name): {**line.data, "nonce": None} if feed[0] == "orderbook" else line.data
            for line in ours.feeds()[feed]
        }
        shared = set(list(told)[1:]) & set(list(mine)[1:])  # the first of each is what was before it subscribed
        assert len(shared) > 30
        assert {key: told[key] for key in shared} == {key: mine[key] for key in shared}


def _key(line: Line, name: str) -> str:
    return str(line.data[0][name] if isinstance(line.data, list) else line.data[name])


async def test_a_collector_of_the_native_source_keeps_every_frame(rig: Rig, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    channels = dict.fromkeys((*CHANNELS, "candles"), BOTH)
    async with AsyncExitStack() as stack:
        options = SimulateOptions(exchange="coinbase", pace=LIVELY, ledger=ledger)
        venue = await stack.enter_async_context(Simulator(options))
        async with rig.collector("coinbase", venue.port, channels, source="coinbase") as running:
            await running.until(lambda lines: len(lines) > 400 and len(by_feed(lines)) == 8)
            await stack.aclose()
            await running.until(all_disconnected)
            status = await running.stop()
        lines = await rig.lines(running.lane)
    assert running.lane == Lane("coinbase", "coinbase", "0of1")
    assert status.captured == status.stored == len(lines)
    whole = sent_by(ledger, "snapshot")
    assert len(whole) == 8
    for (channel, symbol), keys in sent_by(ledger).items():
        told = [*whole[channel, symbol], *keys]
        records = by_feed(lines)["ohlcv_5m" if channel == "candles" else channel, symbol]
        if channel == "trades":
            assert [trade["id"] for line in records for trade in line.data] == [
                str(key) for group in told for key in group
            ]
        elif channel == "orderbook":
            assert [[line.data["nonce"]] for line in records] == told
        else:
            assert len(records) == len(told)
    assert not events_of(lines, "gap")
    assert not events_of(lines, "rejected")


async def test_a_lost_connection_is_a_hole_until_another_has_told_everything_anew() -> None:
    async with stand_in() as venue, capturing(native(venue.port)) as capture:
        await capture.until(is_lively)
        await venue.clients[0].socket.close(code=1012)
        before = {feed: len(lines) for feed, lines in capture.feeds().items()}
        await capture.until(lambda feeds: all(len(lines) > before[feed] + 5 for feed, lines in feeds.items()))
        assert capture.source.connections == 1
        await check_balanced(capture, venue)
    (lost,) = capture.controls("disconnected")
    assert (lost.reason, len(symbols(lost))) == ("closed with code 1012", 6)
    healed = {(control.event.value, *symbols(control)) for control in capture.controls("resynced", "recovered")}
    assert healed == {
        ("resynced" if channel == "orderbook" else "recovered", (channel, s)) for channel, s in symbols(lost)
    }
    assert [len(client.told) > 20 for client in venue.clients] == [True, True]


async def test_lost_frames_are_named_and_books_alone_are_asked_for_anew() -> None:
    async with stand_in() as venue, capturing(native(venue.port)) as capture:
        await capture.until(is_lively)
        left = iter(range(3))
        venue.spoil = lambda frame: frame if next(left, None) is None else None
        await until(lambda: {"resynced"} <= {control.event.value for control in capture.controls("resynced")})
        before = {feed: len(lines) for feed, lines in capture.feeds().items()}
        await capture.until(lambda feeds: all(len(lines) > before[feed] + 3 for feed, lines in feeds.items()))
        await check_balanced(capture, venue)
    (gap,) = capture.controls("gap")
    assert (gap.count, len(symbols(gap))) == (3, 6)
    assert gap.detail is not None
    assert int(gap.detail["got"] or 0) - int(gap.detail["expected"] or 0) == 3
    asked = [(m["type"], m["channel"]) for m in venue.heard if m["channel"] != "heartbeats"]
    assert asked[3:] == [("unsubscribe", "level2"), ("subscribe", "level2")]
    assert len(venue.clients) == 1
    assert {frozenset(symbols(control)) for control in capture.controls("resynced") if control.hole == gap.hole} == {
        frozenset({("orderbook", symbol)}) for symbol in ("BTC-USD", "ETH-USD")
    }


async def test_no_book_is_told_between_a_gap_and_the_next_whole_one() -> None:
    async with stand_in() as venue:
        async with capturing(native(venue.port, ("level2",), ("BTC/USD",))) as capture:
            await capture.until(lambda feeds: any(len(lines) > 5 for lines in feeds.values()))
            left = iter(range(1))
            venue.spoil = lambda frame: frame if next(left, None) is None else None
            await until(lambda: capture.controls("resynced"))
            before = len(capture.desk.lines())
            await until(lambda: len(capture.desk.lines()) > before + 5)
        lines = [
            line for line in capture.desk.lines() if line.channel == "orderbook" or line.event in {"gap", "resynced"}
        ]
    names = [line.event for line in lines]
    assert names.index("resynced") == names.index("gap") + 1
    whole = lines[names.index("resynced") + 1].data["nonce"]
    (told,) = venue.told((Kind.SNAPSHOT,)).values()
    assert whole in [frame["sequence_num"] for frame in told]
    book: dict[str, dict[float, float]] = {}
    for frame in venue.told()["orderbook", "BTC-USD"]:
        (event,) = frame["events"]
        if event["type"] == "snapshot":
            book = {"bid": {}, "offer": {}}
        for update in event["updates"]:
            book[update["side"]][float(update["price_level"])] = float(update["new_quantity"])
        if frame["sequence_num"] == lines[-1].data["nonce"]:
            break
    best = sorted(((p, s) for p, s in book["bid"].items() if s), reverse=True)[:50]
    assert lines[-1].data["bids"] == [list(level) for level in best]


async def test_a_refused_product_is_named_and_the_others_are_told() -> None:
    async with stand_in(refused=frozenset({"ETH/USD"})) as venue, capturing(native(venue.port)) as capture:
        await capture.until(lambda feeds: len(feeds) == 3 and all(len(lines) > 5 for lines in feeds.values()))
        await check_balanced(capture, venue)
    assert {symbol for _, symbol in capture.feeds()} == {"BTC-USD"}
    named = {frozenset(symbols(control)) for control in capture.controls("rejected")}
    assert named == {frozenset({(channel, "ETH-USD")}) for channel in ("orderbook", "trades", "ticker")}


def enlarged(frame: Frame) -> Frame:
    """Make a whole book as large as the largest that Coinbase sends."""
    if frame.kind is not Kind.SNAPSHOT or frame.channel != "orderbook":
        return frame
    body = orjson.loads(frame.payload)
    far = {"side": "offer", "event_time": "2026-08-09T21:05:48.170326Z", "new_quantity": "0.00000018"}
    body["events"][0]["updates"] += [{**far, "price_level": f"{10**7 + tick / 100:.2f}"} for tick in range(48_000)]
    return replace(frame, payload=orjson.dumps(body))


@pytest.mark.parametrize("compress", [False, True])
async def test_a_book_of_five_megabytes_passes_whether_it_is_compressed_or_not(*, compress: bool) -> None:
    async with stand_in(spoil=enlarged, compress=compress) as venue, capturing(native(venue.port)) as capture:
        await capture.until(is_lively)
        await check_balanced(capture, venue)
    sizes = [len(frame.payload) for client in venue.clients for frame in client.told if frame.kind is Kind.SNAPSHOT]
    assert max(sizes) > 5_000_000
    assert "permessage-deflate" in venue.clients[0].offered
    assert not capture.controls("disconnected", "gap", "rejected")
    assert len(capture.feeds()["orderbook", "BTC-USD"][0].data["asks"]) == 50


async def test_products_are_shared_out_over_connections_and_only_one_of_them_suffers() -> None:
    async with stand_in() as venue, capturing(native(venue.port, products_per_connection=1)) as capture:
        await capture.until(is_lively)
        assert capture.source.connections == 2
        await venue.clients[0].socket.close(code=1001)
        await until(lambda: len(venue.clients) == 3)
        await until(lambda: len(capture.controls("resynced")) == 1)
        await check_balanced(capture, venue)
    (lost,) = capture.controls("disconnected")
    assert len({symbol for _, symbol in symbols(lost)}) == 1
    assert len({line.data["nonce"] for line in capture.feeds()["orderbook", "BTC-USD"]}) > 3


async def test_more_connections_than_can_speak_within_the_venue_s_patience_are_made_no_sooner_than_they_can() -> None:
    many = tuple(Instrument(f"C{number}", "USD", 100.0, 2, 8) for number in range(48))
    tree = native(0, ("ticker",), tuple(coin.symbol for coin in many), products_per_connection=1)
    async with stand_in(venue=replace(COINBASE, instruments=many), is_paused=True) as venue:
        tree["coinbase"]["via"] = f"127.0.0.1:{venue.port}"
        async with capturing(tree) as capture:
            await until(lambda: sum(message["channel"] == "heartbeats" for message in venue.heard) >= len(many))
            assert len(venue.standing) == len(many)
    assert not capture.controls("disconnected")


def refuses_what_is_not_signed(message: dict[str, Any]) -> str | None:
    try:
        header, claims, signature = message["jwt"].split(".")
        KEY.public_key().verify(base64.urlsafe_b64decode(signature + "=="), f"{header}.{claims}".encode())
        body = orjson.loads(base64.urlsafe_b64decode(claims + "=="))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it
        return f"authentication failure: {error!r}"
    return None if body["exp"] - body["nbf"] == 120 else "authentication failure"


async def test_every_message_is_signed_with_a_token_of_its_own() -> None:
    async with (
        stand_in(admit=refuses_what_is_not_signed) as venue,
        capturing(native(venue.port, **CREDENTIALS)) as capture,
    ):
        await capture.until(is_lively)
    tokens = [message["jwt"] for message in venue.heard]
    assert len(set(tokens)) == len(tokens) == 4
    assert not capture.controls("rejected", "disconnected")


async def test_wrong_credentials_are_named_and_tried_ever_more_seldom() -> None:
    with capture_logs() as logs:
        async with (
            stand_in(admit=lambda _: "authentication failure") as venue,
            capturing(native(venue.port, **CREDENTIALS)) as capture,
        ):
            await until(lambda: len(capture.controls("disconnected")) == 4)
    reasons = {control.reason for control in capture.controls("disconnected")}
    assert reasons == {"coinbase.api_key and api_secret are refused: authentication failure"}
    waits = [line["retry_s"] for line in logs if line["event"] == "connection.failed"]
    assert waits[:4] == [0.1, 0.1, 0.2, 0.4]  # a tenth of 0.5, 1, 2 and 4 s
    assert capture.feeds() == {}


async def test_a_venue_that_takes_no_connection_is_given_the_time_it_asks_for() -> None:
    busy = [web.Response(status=429, headers={"Retry-After": "1"})]
    with capture_logs() as logs:
        async with stand_in(handshakes=busy) as venue, capturing(native(venue.port)) as capture:
            await capture.until(is_lively)
    (failed,) = [line for line in logs if line["event"] == "connection.failed"]
    assert failed["retry_s"] == 1.0
    assert "429" in failed["error"]
    assert venue.handshaken == 2


async def test_a_peer_that_takes_a_connection_and_never_answers_is_tried_again_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_CONNECT_S", 0.2)
    monkeypatch.setattr(connection, "_STEADY_S", 0.1)
    with capture_logs() as logs:
        async with stand_in(handshakes=[None] * 3) as venue, capturing(native(venue.port)) as capture:
            await capture.until(is_lively)
    failed = [line for line in logs if line["event"] == "connection.failed"]
    assert {line["error"] for line in failed} == {"ConnectionLostError: not connected within 0 s"}
    assert [line["retry_s"] for line in failed] == [0.1, 0.1, 0.2]  # a tenth of 0.5, 1 and 2 s


async def test_a_venue_without_its_products_is_asked_until_it_has_them() -> None:
    replies = [
        web.Response(status=429, headers={"Retry-After": "1"}),
        web.Response(status=503),
        web.Response(text="<p>"),
    ]
    with capture_logs() as logs:
        async with stand_in(replies=replies) as venue, capturing(native(venue.port)) as capture:
            await capture.until(is_lively)
    failed = [line for line in logs if line["event"] == "markets.load_failed"]
    assert next(line["retry_s"] for line in failed) == 1.0
    assert ["429" in failed[0]["error"], "503" in failed[1]["error"], "<p>" in failed[2]["error"]] == [True] * 3


async def test_a_peer_that_freezes_is_left_for_another_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SILENT_S", 0.5)
    async with stand_in() as venue, capturing(native(venue.port)) as capture:
        await capture.until(is_lively)
        venue.is_silent = True
        await until(lambda: capture.controls("disconnected"))
        venue.is_silent = False
        before = {feed: len(lines) for feed, lines in capture.feeds().items()}
        await capture.until(lambda feeds: all(len(lines) > before[feed] + 3 for feed, lines in feeds.items()))
    assert "a heartbeat comes every second" in str(capture.controls("disconnected")[0].reason)


async def test_a_forgotten_book_is_subscribed_anew_on_the_same_connection() -> None:
    soon = {"ingestion": {"stall_seconds": 2}}
    async with stand_in() as venue, capturing({**native(venue.port), **soon}) as capture:
        await capture.until(lambda feeds: is_lively(feeds, 40))
        (client,) = venue.clients
        client.dialogue.feeds.remove(Feed(Channel.ORDERBOOK, "BTC/USD"))
        await until(lambda: capture.controls("stalled"), deadline_s=PATIENCE_S)
        await until(lambda: capture.controls("resynced"), deadline_s=PATIENCE_S)
    assert {frozenset(symbols(control)) for control in capture.controls("stalled", "resynced")} == {
        frozenset({("orderbook", "BTC-USD")})
    }
    assert len(venue.clients) == 1
    assert ("unsubscribe", "level2", ["BTC-USD"]) in [
        (message["type"], message["channel"], message.get("product_ids")) for message in venue.heard
    ]


async def test_what_cannot_be_captured_is_refused_before_anything_is_connected() -> None:
    async with stand_in() as venue:
        settings = Settings(**native(venue.port, ("level2",), ("BTC/USX",)))
        lane = collector_settings(settings, Lane("coinbase", "coinbase", "0of1"))
        with pytest.raises(ConfigurationError, match="no spot market 'BTC/USX' for level2; nearest: BTC/USD"):
            await CoinbaseSource.prepare(settings, lane, chance=lambda: 0.1, events=events())
        settings = Settings(**native(venue.port, **{**CREDENTIALS, "api_secret": "secret"}))
        with pytest.raises(ConfigurationError, match=r"coinbase.api_secret: expected an EC P-256 private key as PEM"):
            await CoinbaseSource.prepare(settings, lane, chance=lambda: 0.1, events=events())
    assert venue.handshaken == 0
