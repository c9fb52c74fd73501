"""What cannot be captured ends the process at once with exit code 2, one line that says why, and nothing begun."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import UsageError
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.settings import load
from fluxforge_collector.main import collect
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import PATIENCE_S, Rig
from tests.unit.fluxforge_collector.made import until


async def refusal_of(config: Path, exchange: str) -> str:
    """Return the message of what ends a collector with exit code 2."""
    with pytest.RaisesGroup(UsageError, allow_unwrapped=True, flatten_subgroups=True) as caught:
        async with asyncio.timeout(PATIENCE_S):
            await collect(load(config), exchange, "0of1", SystemClock(), Shutdown())
    error = caught.value
    return str(error.exceptions[0] if isinstance(error, ExceptionGroup) else error)


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
            sys.executable,
            *("-m", "fluxforge_collector", "--config", str(config), "--exchange", "binance"),
            stdout=PIPE,
            stderr=PIPE,
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
            tasks.create_task(collect(load(config), "binance", "0of1", SystemClock(), shutdown))
            await until(lambda: len(lines) > 1)
            shutdown.request()
    assert {line["event"] for line in lines} == {"markets.load_failed"}
    assert list(await rig.bus.states.lanes()) == []
