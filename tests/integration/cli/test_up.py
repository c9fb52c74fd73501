import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.integration.cli.command import PATIENCE_S, run, started
from tests.system import simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]


def config(tmp_path: Path, port: int, *, markets: str = '"BTC/USD"', more: str = "", compaction: str = "") -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
ccxt:
  exchanges:
    kraken:
      via: "127.0.0.1:{port}"
      channels: {{watchTrades: [{markets}], watchOrderBook: [{markets}]}}
ingestion: {{segment_max_age_seconds: 5}}
{more or "telemetry: {port: 0}"}
compaction: {{{compaction or "enabled: false"}}}
"""
    )
    return path


async def test_an_interrupt_drains_and_the_balance_closes_for_this_run_alone(tmp_path: Path) -> None:
    async with simulator("--exchange", "kraken") as (port, _):
        path = config(
            tmp_path, port, compaction="compact_after: 1, min_file_count: 2, interval_seconds: 1, grace_seconds: 1"
        )
        async with started("up", "--config", path, cwd=tmp_path) as command:
            await command.until(r"in [1-9]\d* segments")
            async with asyncio.timeout(PATIENCE_S):
                code, health = 1, ""
                while code or "collector ccxt-kraken-0of1: ready, 2 of 2 feeds sound" not in health:
                    code, health = await run("health", "--config", path, cwd=tmp_path)
            command.signal(signal.SIGINT)
            assert await command.end() == 0, command.text
        assert "The balance closes." in command.text
        code, listed = await run("segments", cwd=tmp_path)
        assert (code, "in Parquet" in listed) == (0, True)

        async with started("up", "--config", path, "--seconds", "12", cwd=tmp_path) as command:
            assert await command.end() == 0, command.text
        assert "The balance closes." in command.text
        assert await asyncio.to_thread(lambda: list(tmp_path.rglob("merged_*.parquet")))
        code, audited = await run("audit", "--deep", "--config", path, cwd=tmp_path)
        assert (code, "balanced" in audited) == (0, True), audited
        assert (await run("dataset", "verify", "--config", path, cwd=tmp_path))[0] == 0


async def test_a_killed_collector_comes_back_and_the_account_says_what_it_cannot_know(tmp_path: Path) -> None:
    async with (
        simulator("--exchange", "kraken") as (port, _),
        started("up", "--config", config(tmp_path, port), cwd=tmp_path) as command,
    ):
        await command.until(r"captured [1-9]")
        for pid in await _pids("fluxforge_collector", str(tmp_path)):
            os.kill(pid, signal.SIGKILL)
        await command.until("collector-kraken-0of1 ended with -9; starting it again")
        command.signal(signal.SIGTERM)
        assert await command.end() == 1, command.text
    assert "unknown: collector-kraken-0of1 ended with -9, without its last count" in command.text


async def test_a_hangup_brings_a_changed_list_of_markets_and_the_end_of_the_terminal_the_drain(tmp_path: Path) -> None:
    terminal, stream = os.openpty()
    async with simulator("--exchange", "kraken") as (port, _):
        path = config(tmp_path, port)
        async with started("up", "--config", path, cwd=tmp_path, stdin=stream) as command:
            await command.until(r"captured [1-9]")
            config(tmp_path, port, markets='"BTC/USD", "ETH/USD"')
            command.signal(signal.SIGHUP)
            async with asyncio.timeout(PATIENCE_S):
                health = ""
                while "4 of 4 feeds sound" not in health:
                    health = (await run("health", "--config", path, cwd=tmp_path))[1]
            os.close(terminal)
            command.signal(signal.SIGHUP)
            assert await command.end() == 0, command.text
    os.close(stream)
    assert "The balance closes." in command.text
    assert await asyncio.to_thread(lambda: list(tmp_path.rglob("trades/**/symbol=ETH-USD/**/*.parquet")))


@pytest.mark.usefixtures("full_run")
async def test_a_killed_bus_comes_back_and_the_balance_closes(tmp_path: Path) -> None:
    async with (
        simulator("--exchange", "kraken") as (port, _),
        started("up", "--config", config(tmp_path, port), cwd=tmp_path) as command,
    ):
        await command.until(r"in [1-9]\d* segments")
        (pid,) = await _pids("nats-server", str(tmp_path))
        os.kill(pid, signal.SIGKILL)
        await command.until("the embedded nats-server has died; starting it again")
        segments = int((await command.until(r"in [1-9]\d* segments")).rpartition(" segments")[0].split()[-1])
        await command.until(rf"in {segments + 1} segments")
        command.signal(signal.SIGINT)
        assert await command.end() == 0, command.text
    assert "The balance closes." in command.text
    assert " ended with " not in command.text


async def _pids(*marks: str) -> list[int]:
    """Return the pids of the processes in whose command lines all the marks stand."""
    listing = await asyncio.create_subprocess_exec("ps", "-wweo", "pid=,args=", stdout=asyncio.subprocess.PIPE)
    output, _ = await listing.communicate()
    return [int(line.split()[0]) for line in output.decode().splitlines() if all(mark in line for mark in marks)]


async def test_a_market_that_the_exchange_lacks_ends_everything_with_2_and_its_name(tmp_path: Path) -> None:
    async with (
        simulator("--exchange", "kraken") as (port, _),
        started("up", "--config", config(tmp_path, port, markets='"BTC/USX"'), cwd=tmp_path) as command,
    ):
        assert await command.end() == 2, command.text
    assert "collector-kraken-0of1: " in command.lines[-1]
    assert "BTC/USX" in command.text
    assert "BTC/USD" in command.text  # the nearest
    assert not list((tmp_path / "data").rglob("*.ndjson"))


async def test_a_telemetry_port_that_is_taken_ends_everything_with_2_and_its_number(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    taken = server.sockets[0].getsockname()[1]
    try:
        path = config(tmp_path, 1, more=f"telemetry: {{port: {taken}}}")
        code, output = await run("up", "--config", path, cwd=tmp_path)
    finally:
        server.close()
        await server.wait_closed()
    assert code == 2, output
    assert f"cannot listen on 127.0.0.1:{taken}" in output
    assert "set telemetry.port to a free port, or to 0 for any" in output


async def test_two_at_once_on_one_directory_are_refused(tmp_path: Path) -> None:
    async with started("up", "--config", config(tmp_path, 1), cwd=tmp_path) as first:
        await first.until("capturing")
        code, output = await run("up", "--config", "config.yaml", cwd=tmp_path)
        assert code == 2
        assert "in use by another FluxForge" in output
        first.signal(signal.SIGINT)
        first.signal(signal.SIGINT)
        await first.end()
