"""The collector of a Databento dataset as a process, between a gateway on loopback and a real bus."""

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

pytest.importorskip("databento", reason="the package databento is not installed")

from fluxforge.domain.lane import Lane
from tests.databento_gateway import KEY, Gateway
from tests.integration.collector.rig import PATIENCE_S, Rig, Running, by_feed, command, events_of
from tests.unit.fluxforge_collector.databento_source.dbn import INSTRUMENT, MARKET, quote, trade
from tests.unit.fluxforge_collector.databento_source.live import is_served
from tests.unit.fluxforge_collector.made import until

pytestmark = pytest.mark.timeout(300)

LANE = Lane("databento", "glbxmdp3", "0of1")


def configured(rig: Rig, port: int, *, key: str = KEY, dataset: str = "GLBX.MDP3") -> Path:
    path = rig.data / "config.json"
    channels = {"trades": [MARKET], "mbp-1": [MARKET]}
    tree = {
        "nats": {"servers": [rig.server.url]},
        "storage": {"scratch_dir": str(rig.data)},
        "telemetry": {"port": 0},
        "databento": {"api_key": key, "via": f"127.0.0.1:{port}", "datasets": {dataset: {"channels": channels}}},
    }
    path.write_bytes(orjson.dumps(tree))
    return path


@asynccontextmanager
async def collecting(rig: Rig, config: Path) -> AsyncIterator[Running]:
    async with rig.process(LANE, config) as (running, _):
        await rig.open_lane(running)
        yield running


async def test_what_the_gateway_sends_is_stored_over_a_lost_connection(rig: Rig) -> None:
    async with Gateway({INSTRUMENT: MARKET}) as gateway, collecting(rig, configured(rig, gateway.port)) as running:
        await until(lambda: is_served(gateway))
        gateway.add(trade(1, 1.0), quote(2, 1.0, 2.0), trade(3, 2.0))
        await running.until(lambda lines: len(by_feed(lines)["trades", MARKET]) == 2)
        gateway.drop()
        await until(lambda: gateway.session_count == 2 and is_served(gateway))
        gateway.add(trade(5, 3.0), quote(6, 1.0, 3.0))
        await running.until(lambda lines: len(by_feed(lines)["trades", MARKET]) == 3)
        await running.until(lambda lines: len(by_feed(lines)["orderbook", MARKET]) == 2)
        status = await running.stop()
        lines = await rig.lines(LANE)
    assert status.captured == status.stored == len(lines)
    assert [line.data[0]["price"] for line in by_feed(lines)["trades", MARKET]] == [1.0, 2.0, 3.0]
    assert [len(events_of(lines, event)) for event in ("connected", "disconnected", "stopped")] == [2, 1, 1]


async def test_a_wrong_key_is_in_the_log_and_in_the_lane_and_the_collector_goes_on_trying(rig: Rig) -> None:
    async with (
        Gateway({INSTRUMENT: MARKET}) as gateway,
        collecting(rig, configured(rig, gateway.port, key="db-mistaken")) as running,
    ):
        lines = await running.until(lambda lines: events_of(lines, "rejected"))
        reason = events_of(lines, "rejected")[0].control.reason
        assert reason == "GLBX.MDP3: the gateway refused to sign in: Authentication failed."
        gateway.key = "db-mistaken"
        await until(lambda: is_served(gateway))
        gateway.add(trade(1, 1.0))
        await running.until(by_feed)
        await running.stop()
        log = running.log_path.read_text()
    assert reason in log
    assert "db-mistaken" not in log


@pytest.mark.parametrize(
    ("dataset", "exchange", "message"),
    [
        ("GLBX.MDP4", "glbxmdp4", "databento.datasets.GLBX.MDP4: unknown dataset; nearest is GLBX.MDP3"),
        (
            "GLBX.MDP3",
            "xnasitch",
            "configured: databento-glbxmdp3-0of1",
        ),
    ],
)
async def test_what_is_no_dataset_ends_the_process_with_2_and_one_line(
    rig: Rig, dataset: str, exchange: str, message: str
) -> None:
    config = configured(rig, 1, dataset=dataset)
    wanted = command(replace(LANE, exchange=exchange), config)
    process = await asyncio.create_subprocess_exec(*wanted, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    (line,) = errors.splitlines()
    assert message in orjson.loads(line)["error"]
