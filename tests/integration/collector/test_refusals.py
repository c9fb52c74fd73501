"""What cannot be captured ends the process at once with exit code 2, one line that says why, and nothing begun."""

import asyncio
import contextlib
import re
import socket
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import UsageError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.probe import NoAnswerError, ask
from fluxforge.runtime.settings import load
from fluxforge_collector.main import collect
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import PATIENCE_S, Rig, command
from tests.ports import kept_port
from tests.unit.fluxforge_collector.made import until


async def refusal_of(config: Path, exchange: str) -> str:
    """Return the message of what ends a collector with exit code 2."""
    with pytest.RaisesGroup(UsageError, allow_unwrapped=True, flatten_subgroups=True) as caught:
        async with asyncio.timeout(PATIENCE_S):
            await collect(load(config), Lane("ccxt", exchange, "0of1"), SystemClock(), Shutdown())
    error: Exception = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error)


@pytest.mark.parametrize(
    ("exchange", "channels", "message"),
    [
        (
            "binance",
            {"watchTrades": ["BTC/USDX"]},
            "binance has no market 'BTC/USDX' for watchTrades; nearest: BTC/USDT",
        ),
        ("coinbase", {"watchTrades": ["BTC/USD"], "watchOHLCV": ["BTC/USD"]}, "coinbase does not support watchOHLCV"),
        ("binnance", {"watchTrades": ["BTC/USDT"]}, "ccxt.pro has no exchange 'binnance'; nearest: binance"),
        ("kraken", {"watchTicker": {"quote": "USX"}}, "no active market with quote 'USX'; nearest: USD"),
    ],
)
async def test_a_wrong_configuration_is_refused_before_anything_begins(
    rig: Rig, exchange: str, channels: dict[str, Any], message: str
) -> None:
    async with Simulator(SimulateOptions()) as simulator:
        assert message in await refusal_of(rig.configure(exchange, simulator.port, channels), exchange)
    assert list(await rig.bus.states.lanes()) == []


async def test_a_taken_telemetry_port_is_refused_by_name(rig: Rig) -> None:
    async with Simulator(SimulateOptions(exchange="binance")) as simulator:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            config = rig.configure("binance", simulator.port, {"watchTrades": ["BTC/USDT"]}, telemetry={"port": port})
            refusal = await refusal_of(config, "binance")
    assert f"cannot listen on 127.0.0.1:{port}" in refusal
    assert list(await rig.bus.states.lanes()) == []


async def test_a_spool_directory_that_cannot_be_written_is_refused_by_name(rig: Rig) -> None:
    (rig.data / "file").write_text("")
    async with Simulator(SimulateOptions(exchange="binance")) as simulator:
        config = rig.configure(
            "binance",
            simulator.port,
            {"watchTrades": ["BTC/USDT"]},
            ingestion={"spool_dir": str(rig.data / "file" / "spool")},
        )
        refusal = await refusal_of(config, "binance")
    assert "file/spool" in refusal
    assert list(await rig.bus.states.lanes()) == []


async def test_a_refused_process_ends_with_2_and_one_line(rig: Rig) -> None:
    async with Simulator(SimulateOptions(exchange="binance")) as simulator:
        config = rig.configure("binance", simulator.port, {"watchTrades": ["BTC/USDX"]})
        process = await asyncio.create_subprocess_exec(
            *command(Lane("ccxt", "binance", "0of1"), config), stdout=PIPE, stderr=PIPE
        )
        output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    (line,) = errors.splitlines()
    assert "nearest: BTC/USDT" in orjson.loads(line)["error"]


async def test_an_exchange_that_does_not_answer_is_asked_again_until_it_is_told_to_end(rig: Rig, port: int) -> None:
    config = rig.configure("binance", port, {"watchTrades": ["BTC/USDT"]})
    shutdown = Shutdown()
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(collect(load(config), Lane("ccxt", "binance", "0of1"), SystemClock(), shutdown))
            await until(lambda: len(lines) > 1)
            shutdown.request()
    assert {line["event"] for line in lines} == {"markets.load_failed"}
    assert list(await rig.bus.states.lanes()) == []


async def test_a_collector_without_its_exchange_says_so_and_that_the_bus_is_there(rig: Rig, port: int) -> None:
    with kept_port() as asked:
        config = rig.configure("binance", port, {"watchTrades": ["BTC/USDT"]}, telemetry={"port": asked})
        shutdown = Shutdown()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(collect(load(config), Lane("ccxt", "binance", "0of1"), SystemClock(), shutdown))
            page = ""
            async with asyncio.timeout(PATIENCE_S):
                while not {"fluxforge_bus_connected 1.0", "fluxforge_collector_market_load_failures_total"} <= words(
                    page
                ):
                    await asyncio.sleep(0.05)
                    with contextlib.suppress(NoAnswerError):
                        _, page = await asyncio.to_thread(ask, "127.0.0.1", asked, "/metrics")
            ready, _ = await asyncio.to_thread(ask, "127.0.0.1", asked, "/readyz")
            shutdown.request()
    assert ready == 503
    assert "fluxforge_collector_lane_held 0.0" in page
    assert re.search(r'^fluxforge_collector_info\{.*exchange="binance",', page, re.MULTILINE)
    assert page.count("# TYPE fluxforge_collector_info ") == 1


def words(page: str) -> set[str]:
    """Return the samples of a page that are not 0, whole and by name."""
    found = [line for line in page.splitlines() if not line.startswith("#") and not line.endswith(" 0.0")]
    return {*found, *(line.split(" ")[0] for line in found)}
