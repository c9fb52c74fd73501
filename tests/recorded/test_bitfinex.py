"""A recording of Bitfinex through the real client: each frame of a feed is a record, but those that repeat a trade."""

from collections import Counter
from pathlib import Path

import orjson

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.domain.instrument import symbol_id
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import running_rig
from tests.recorded.recordings import received, recording
from tests.unit.fluxforge_collector.made import until

FILE = "bitfinex/BITFINEX_20210405_2min.jsonl.zst"
MARKETS = ["ZRX/ETH", "ETH/JPY"]


def repeated() -> int:
    """Return how many frames tell a trade again: `tu` follows each `te`."""
    listed = {frame["chanId"]: frame for frame in received(FILE) if isinstance(frame, dict) and "chanId" in frame}
    updates = (frame for frame in received(FILE) if isinstance(frame, list) and frame[1] == "tu")
    return sum(listed[frame[0]].get("symbol") in {"tZRXETH", "tETHJPY"} for frame in updates)


async def test_every_frame_of_bitfinex_is_a_record(nats_server: EmbeddedNats, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    channels = dict.fromkeys(("watchOrderBook", "watchTrades", "watchTicker"), MARKETS)
    options = SimulateOptions(recordings=(recording(FILE),), ledger=ledger, speed=40.0, wait_for=6)
    async with (
        running_rig(nats_server, tmp_path) as rig,
        Simulator(options) as simulator,
        rig.collector("bitfinex", simulator.port, channels) as running,
    ):
        await until(simulator.finished.is_set, deadline_s=60)
        status = await running.stop()
        lines = await rig.lines(running.lane)
    assert status.captured == status.stored == len(lines)
    frames = [orjson.loads(text) for text in ledger.read_bytes().splitlines()]
    sent = Counter(
        (frame["channel"], symbol_id(frame["symbol"])) for frame in frames if frame["kind"] in {"data", "snapshot"}
    )
    stored = Counter((line.channel, line.symbol) for line in lines if line.symbol is not None)
    assert repeated() > 0
    told_twice = sum(sent[feed] - stored[feed] for feed in sent if feed[0] == "trades")
    assert told_twice == repeated()
    assert {feed: count for feed, count in stored.items() if feed[0] != "trades"} == {
        feed: count for feed, count in sent.items() if feed[0] != "trades"
    }
    assert sent["orderbook", "ETH-JPY"] > 10_000
    assert not [line for line in lines if line.event in {"rejected", "gap", "dropped", "stalled"}]
