"""A flood: 50 000 depth frames of one symbol as fast as the socket takes them, through the whole capture path.

Whether some of it waits in the spool is a matter of how busy the machine is.
"""

import re
from pathlib import Path

import orjson
import pytest

from fluxforge_simulator import LoadPlan, SimulateOptions, Simulator
from tests.system import running_system

FRAMES = 50_000


@pytest.mark.timeout(400)
async def test_every_frame_of_a_flood_is_sealed_once_and_none_is_dropped(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    options = SimulateOptions(exchange="binance", ledger=ledger, load=LoadPlan(frames=FRAMES))
    async with Simulator(options) as exchange:
        feeds = {"watchOrderBook": ["BTC/USDT"]}
        binance = {"via": f"127.0.0.1:{exchange.port}", "channels": feeds}
        async with running_system(tmp_path, {"binance": binance}) as system:
            segmenter = await system.start("segmenter")
            collector = await system.start("collector", "--exchange", "binance")
            await exchange.finished.wait()
            status = await system.drain_collector(collector)
            await system.drain(segmenter)

            assert (status.captured, status.spooled, status.dropped) == (status.stored, 0, 0)
            lines = map(orjson.loads, ledger.read_bytes().splitlines())
            sent = [line["key"][1] for line in lines if line["kind"] == "data"]
            assert len(sent) == FRAMES
            sealed = []
            for manifest in system.manifests():
                body = (tmp_path / "raw" / "ready" / manifest.lane.folder / manifest.file).read_bytes()
                sealed += [int(found) for found in re.findall(rb'"nonce":(\d+)', body)]
            # The first book is the REST snapshot's; every frame after it is one record.
            assert sealed[1:] == sent
