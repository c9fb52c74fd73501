"""What is captured and what the wire of the same capture gives through ccxt again are the same bytes."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fluxforge.domain.block import Block
from fluxforge_collector.replay.segments import open_segments
from fluxforge_collector.replay.tape import steps
from fluxforge_collector.replay.unify import unify
from fluxforge_simulator.options import Faults, MalformedFrame, SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, all_channels, all_disconnected, by_feed, events_of, markets
from tests.integration.collector.test_silence import forget_the_book
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(180)
CAPTURED = {"capture_wire": True}


def segment_of(blocks: list[Block], path: Path) -> list[bytes]:
    """Write what a lane holds as a segment; return the lines of unified records."""
    path.write_bytes(b"".join(block.payload for block in blocks))
    lines = path.read_bytes().splitlines(keepends=True)
    others = (b'"channel":"control"', b'"channel":"wire"', b'"source_kind":"backfill"')
    return [line for line in lines if not any(other in line for other in others)]


def _unified(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.channel != "wire"]


async def unified(*paths: Path) -> list[bytes]:
    """Return what the wire gives, derived on a loop of its own."""
    lines: list[bytes] = []
    count = await asyncio.to_thread(unify, steps(open_segments(paths).records()), lines.append)
    assert count == len(lines)
    return lines


@pytest.mark.parametrize("exchange", ["binanceus", "coinbase", "kraken"])
async def test_unified_records_derived_from_the_wire_are_those_captured(
    rig: Rig, tmp_path: Path, exchange: str
) -> None:
    channels = all_channels(exchange, "BTC", "ETH")
    async with Simulator(SimulateOptions(exchange=exchange, pace=LIVELY)) as simulator:
        async with rig.collector(exchange, simulator.port, channels, ingestion=CAPTURED) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 7 and len(lines) > 2_000)
            await running.stop()
        captured = segment_of(await rig.blocks(running.lane), tmp_path / "segment.ndjson")
    derived = await unified(tmp_path / "segment.ndjson")
    assert len(captured) > 500
    assert derived == captured


@pytest.mark.parametrize("exchange", ["coinbase", "kraken"])
async def test_a_connection_that_broke_breaks_again_in_its_place(
    rig: Rig, tmp_path: Path, port: int, exchange: str
) -> None:
    options = SimulateOptions(exchange=exchange, pace=LIVELY, port=port)
    channels = all_channels(exchange, "BTC", "ETH")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Simulator(options))
        async with rig.collector(exchange, port, channels, ingestion=CAPTURED) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 7 and len(lines) > 300)
            await stack.aclose()
            before = len(await running.until(lambda lines: all_disconnected(_unified(lines)), deadline_s=20))
            async with Simulator(options):
                await running.until(lambda lines: len(by_feed(lines[before:])) == 7 and len(lines) > before + 500)
                await running.stop()
        captured = segment_of(await rig.blocks(running.lane), tmp_path / "segment.ndjson")
    assert b'"conn":2' in captured[-1] or b'"conn":1' not in captured[-1]
    assert await unified(tmp_path / "segment.ndjson") == captured


@pytest.mark.parametrize("exchange", ["binanceus", "kraken"])
async def test_what_was_done_about_a_silent_feed_and_a_bad_frame_is_done_again(
    rig: Rig, tmp_path: Path, exchange: str
) -> None:
    (symbol,) = markets(exchange, "BTC")
    bad = MalformedFrame(exchange, "trades", symbol, 1.0)
    faults = Faults(malformed=(bad,))
    channels = all_channels(exchange, "BTC", "ETH")
    limits = {**CAPTURED, "stall_floor_seconds": 2.0}
    async with Simulator(SimulateOptions(exchange=exchange, pace=LIVELY, faults=faults)) as simulator:
        async with rig.collector(exchange, simulator.port, channels, ingestion=limits) as running:
            await forget_the_book(simulator, running, exchange, symbol)
            lines = await running.until(lambda lines: events_of(lines, "stalled"), deadline_s=100)
            before = len(lines)
            await running.until(lambda lines: _books(lines[before:]) > 20)
            await running.stop()
        captured = segment_of(await rig.blocks(running.lane), tmp_path / "segment.ndjson")
    assert events_of(lines, "rejected")
    assert await unified(tmp_path / "segment.ndjson") == captured


def _books(lines: list[Line]) -> int:
    return sum((line.channel, (line.symbol or "")[:3]) == ("orderbook", "BTC") for line in lines)
