"""The wire is captured: every frame as it was sent and every REST answer, each before the records that came of it."""

from collections import defaultdict
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from fluxforge_collector.wire_records import Answer, Frame, Resolved, Setup, WireItem, item_of
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, all_channels, by_feed
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(180)
CAPTURED = {"capture_wire": True}
WIRE = ("wire", "*")


def items_of(wire: list[Line]) -> list[tuple[int, WireItem]]:
    """Return the items of wire records, each with its connection."""
    items, pieces = [], []
    for line in wire:
        pieces.append(line.data)
        if "more" not in line.data:
            items.append((line.conn, item_of(pieces)))
            pieces = []
    assert not pieces
    return items


def digest(text: str | bytes) -> str:
    return sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def ledger_of(path: Path) -> tuple[dict[int, list[str]], set[str]]:
    """Return the digests of what a simulator sent: of frames by connection, and of REST bodies."""
    frames, bodies = defaultdict(list), set()
    for line in map(orjson.loads, path.read_bytes().splitlines()):
        if line["kind"] == "rest":
            bodies.add(line["sha256"])
        elif line["bytes"]:
            frames[line["conn"]].append(line["sha256"])
    return frames, bodies


@pytest.mark.parametrize("exchange", ["binanceus", "coinbase", "kraken"])
async def test_every_frame_that_was_sent_is_a_wire_record(rig: Rig, tmp_path: Path, exchange: str) -> None:
    options = SimulateOptions(exchange=exchange, pace=LIVELY, ledger=tmp_path / "ledger")
    channels = all_channels(exchange, "BTC", "ETH")
    async with Simulator(options) as simulator:
        async with rig.collector(exchange, simulator.port, channels, ingestion=CAPTURED) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 7 and len(lines) > 500)
            status = await running.stop()
        lines = await rig.lines(running.lane)
    wire = by_feed(lines)[WIRE]
    assert [line.seq for line in wire] == list(range(1, len(wire) + 1))
    assert status.captured == status.stored == len(lines)
    assert status.dropped == 0
    items = items_of(wire)
    assert isinstance(items[0][1], Setup)
    assert sum(len(markets) for markets in items[0][1].channels.values()) == 6
    heard = defaultdict(list)
    for conn, item in items:
        if isinstance(item, Frame) and not item.sent:
            heard[conn].append(digest(item.payload))
    frames, bodies = ledger_of(tmp_path / "ledger")
    assert len(heard) == len(frames)
    for mine in heard.values():
        assert any(sent[: len(mine)] == mine for sent in frames.values())
    answers = [item for _, item in items if isinstance(item, Answer)]
    assert {digest(answer.text) for answer in answers} <= bodies
    books = [item for _, item in items if isinstance(item, Resolved)]
    assert len(books) == (2 if exchange == "binanceus" else 0)


async def test_a_frame_stands_before_the_records_that_came_of_it(rig: Rig) -> None:
    channels = {"watchTrades": ["BTC/USD"]}
    async with Simulator(SimulateOptions(exchange="kraken", pace=LIVELY)) as simulator:
        async with rig.collector("kraken", simulator.port, channels, ingestion=CAPTURED) as running:
            await running.until(lambda lines: len(by_feed(lines)["trades", "BTC-USD"]) > 20)
            await running.stop()
        lines = await rig.lines(running.lane)
    records = [line for line in lines if line.channel != "control"]
    pairs = [(before, line) for before, line in pairwise(records) if line.channel == "trades"]
    for frame, trades in pairs:
        sent = orjson.loads(frame.data["text"])["data"]
        assert [str(trade["trade_id"]) for trade in sent] == [trade["id"] for trade in trades.data]
    assert all(trades.capture_ns == frame.capture_ns + 1 for frame, trades in pairs[1:])
