"""Recordings of real exchanges, captured with their wire and derived from it again: the same bytes."""

import asyncio
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import running_rig
from tests.integration.collector.test_unify import CAPTURED, segment_of, unified
from tests.recorded.lanes import VENUES, Venue
from tests.recorded.recordings import recording

pytestmark = pytest.mark.timeout(300)
SECONDS_PER_S = 20.0
KUCOIN = Venue(
    "kucoin",
    "kucoin/KUCOIN_20210425.jsonl.zst",
    {"watchOrderBook": ["SNX/BTC"], "watchTrades": ["SNX/BTC"]},
    1_619_308_800_000_000_000,
    20,
)
"""It hands out where to connect to by REST, and its clients draw a part of that address by lot."""


@pytest.mark.parametrize("venue", [*VENUES, KUCOIN], ids=lambda venue: str(venue.exchange))
async def test_a_recording_gives_the_same_bytes_through_its_wire(
    nats_server: EmbeddedNats, tmp_path: Path, venue: Venue
) -> None:
    options = SimulateOptions(
        recordings=(recording(venue.file),),
        markets=recording(venue.markets) if venue.markets else None,
        exchange=venue.exchange,
        speed=SECONDS_PER_S,
        wait_for=sum(map(len, venue.channels.values())),
    )
    async with running_rig(nats_server, tmp_path) as rig, Simulator(options) as simulator:
        exchange = venue.exchange
        async with rig.collector(exchange, simulator.port, dict(venue.channels), ingestion=CAPTURED) as running:
            async with asyncio.timeout(120):
                await simulator.finished.wait()
            await running.stop()
        captured = segment_of(await rig.blocks(running.lane), tmp_path / "segment.ndjson")
    assert len(captured) > 100
    assert await unified(tmp_path / "segment.ndjson") == captured
