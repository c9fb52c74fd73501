"""What cannot be captured ends the process at once with exit code 2, one line that says why, and nothing begun."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import Rig


async def end_of(config: Path, exchange: str) -> tuple[int | None, bytes, list[dict[str, Any]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "fluxforge_collector", "--config", str(config), "--exchange", exchange),
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    return process.returncode, output, [orjson.loads(line) for line in errors.splitlines()]


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
        code, output, log = await end_of(rig.configure(exchange, simulator.port, channels), exchange)
    assert (code, output) == (2, b"")
    (line,) = log
    assert message in line["error"]
    assert list(await rig.bus.states.lanes()) == []


async def test_a_taken_telemetry_port_is_refused_by_name(rig: Rig) -> None:
    async with Simulator(SimulateOptions(exchange="binance")) as simulator:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            config = rig.configure("binance", simulator.port, {"watchTrades": ["BTC/USDT"]}, telemetry={"port": port})
            code, _, log = await end_of(config, "binance")
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in log[-1]["error"]
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
        code, _, log = await end_of(config, "binance")
    assert code == 2
    assert "file/spool" in log[-1]["error"]
    assert list(await rig.bus.states.lanes()) == []


async def test_an_exchange_that_does_not_answer_is_asked_again_until_it_is_told_to_end(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    config = rig.configure("binance", port, {"watchTrades": ["BTC/USDT"]})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "fluxforge_collector", "--config", str(config), "--exchange", "binance"),
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        for _ in range(2):
            assert orjson.loads(await process.stderr.readline())["event"] == "markets.load_failed"
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    assert list(await rig.bus.states.lanes()) == []
