"""One socket's trouble is its own feeds' alone: those on another lose nothing, and nothing is said of them."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fluxforge.domain.control import FeedKey
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, all_disconnected, by_feed, events_of, sent
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(240)


def cut(simulator: Simulator, channel: str) -> None:
    """Abort the connection that carries a channel, without a word to its client."""
    (stage,) = simulator._markets
    (part,) = [part for part in stage.parts if {feed.channel.value for feed in part.dialogue.feeds} == {channel}]
    part.connection._abort()


def spoken_of(lines: list[Line], feed: FeedKey) -> list[str | None]:
    return [line.event for line in lines if line.event and feed in line.control.concerned()]


async def test_a_cut_connection_touches_no_feed_of_another(rig: Rig, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    names = ["BTC/USDT", "ETH/USDT"]
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(SimulateOptions(exchange="binanceus", ledger=ledger, pace=LIVELY))
        )
        channels = {"watchTrades": names, "watchOrderBook": names}  # on binanceus each list has its own connection
        async with rig.collector("binanceus", simulator.port, channels) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 4 and len(lines) > 100)
            cut(simulator, "orderbook")
            await running.until(lambda lines: len(events_of(lines, "disconnected")) == 1)
            cut_at = len(await rig.lines(running.lane))
            await running.until(lambda lines: len(by_feed(lines[cut_at:])) == 4 and len(lines) > cut_at + 100)
            await stack.aclose()
            await running.until(all_disconnected)
            await running.stop()
            lines = await rig.lines(running.lane)
    lost = events_of(lines, "disconnected")[0]
    assert {key.channel for key in lost.control.concerned()} == {"orderbook"}
    for name in names:
        feed = FeedKey("trades", name.replace("/", "-"))
        records = by_feed(lines)[feed.channel, feed.symbol]
        ids = [str(trade["id"]) for line in records for trade in line.data]
        assert ids == [str(one) for group in sent(ledger)[feed.channel, feed.symbol] for one in group]
        said = [event for event in spoken_of(lines, feed) if event not in {"connected", "subscribed"}]
        assert said == ["started", "recovered", "disconnected", "stopped"]
