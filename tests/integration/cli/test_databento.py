"""`fluxforge up` on a dataset of Databento: from a gateway on loopback to Parquet, over a lost connection."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("databento", reason="the package databento is not installed")

from tests.databento_gateway import KEY, Gateway
from tests.integration.cli.command import PATIENCE_S, run, started
from tests.unit.fluxforge_collector.databento_source.dbn import INSTRUMENT, MARKET, T0, quote, trade
from tests.unit.fluxforge_collector.databento_source.live import is_served
from tests.unit.fluxforge_collector.made import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def config(tmp_path: Path, port: int) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
databento:
  api_key: {KEY}
  via: "127.0.0.1:{port}"
  datasets: {{GLBX.MDP3: {{channels: {{trades: [{MARKET}], mbp-1: [{MARKET}]}}}}}}
ingestion: {{segment_max_age_seconds: 5}}
telemetry: {{port: 0}}
compaction: {{enabled: false}}
"""
    )
    return path


async def test_what_a_gateway_sends_is_in_parquet_and_the_balance_closes(tmp_path: Path) -> None:
    async with Gateway({INSTRUMENT: MARKET}) as gateway:
        path = config(tmp_path, gateway.port)
        async with started("up", "--config", path, cwd=tmp_path) as command:
            await until(lambda: is_served(gateway), deadline_s=PATIENCE_S)
            now = time.time_ns() - T0  # a replay reaches back a day, so that events have to be of today
            for n in range(1, 100):
                gateway.add(trade(now + 3 * n, 1.0), quote(now + 3 * n + 1, 1.0, 2.0))
                if n == 50:
                    await command.until(r"captured [1-9]\d\d")  # nothing of it is under way when the line is cut
                    gateway.history.append(trade(now + 3 * n + 2, 7.0))
                    gateway.drop()
                    await until(lambda: gateway.session_count == 2 and is_served(gateway), deadline_s=PATIENCE_S)
            await command.until(r"captured 2\d\d")
            command.signal(signal.SIGINT)
            async with asyncio.timeout(PATIENCE_S):
                assert await command.end() == 0, command.text
    assert "The balance closes." in command.text
    code, counted = await run(
        *("query", "--config", path, "--format", "csv"),
        "SELECT source_kind, count(DISTINCT trade_id) AS n FROM all_trades GROUP BY ALL ORDER BY ALL",
        cwd=tmp_path,
    )
    assert (code, counted.splitlines()[1:]) == (0, ["backfill,1", ",99"]), counted
