import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings, load
from fluxforge_collector.reload import asked_by_signal, changed_keys

LANE = Lane("ccxt", "binance", "0of1")


def tree(path: Path, exchange: dict[str, Any] | None = None, **sections: Any) -> Settings:
    channels = {"watchTrades": ["BTC/USDT"]}
    exchanges = {"binance": {"channels": channels, **(exchange or {})}, "kraken": {"channels": channels}}
    path.write_bytes(orjson.dumps({"ccxt": {"exchanges": exchanges}, **sections}))
    return load(path)


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({}, []),
        ({"exchange": {"channels": {"watchTicker": ["ETH/USDT"]}}}, []),
        ({"etl": {"workers": 3}}, []),
        ({"exchange": {"api_key": "hidden"}}, ["ccxt.exchanges.binance.api_key"]),
        (
            {"exchange": {"timeframe": "1h", "options": {"a": 1}}, "ingestion": {"linger_ms": 3}},
            ["ccxt.exchanges.binance.options.a", "ccxt.exchanges.binance.timeframe", "ingestion.linger_ms"],
        ),
    ],
)
def test_what_takes_a_restart_is_named_by_its_key_and_what_concerns_others_is_not(
    tmp_path: Path, changed: dict[str, Any], keys: list[str]
) -> None:
    path = tmp_path / "config.json"
    assert changed_keys(tree(path), tree(path, **changed), LANE) == keys


async def test_sighup_asks_for_a_reload_while_somebody_listens() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with asked_by_signal() as asked:
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            await asked.wait()
    assert signal.getsignal(signal.SIGHUP) == before
