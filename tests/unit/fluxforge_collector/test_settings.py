from pathlib import Path
from typing import Any

import pytest

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.runtime.settings import Settings
from fluxforge_collector.settings import MarketsWanted, collector_settings


def tree(**sections: Any) -> Settings:
    exchange = {
        "shards": 2,
        "channels": {"watchTrades": ["BTC/USDT"], "watchTicker": ["*"], "watchOrderBook": {"quote": "USDT"}},
    }
    return Settings(**{"ccxt": {"exchanges": {"binance": exchange}}, **sections})


def test_a_shard_gets_its_part_of_the_tree() -> None:
    part = collector_settings(tree(storage={"scratch_dir": "/data"}), "binance", "1of2")
    assert str(part.lane) == "ccxt-binance-1of2"
    assert (part.shard, part.shards) == (1, 2)
    assert part.venue.channels == {
        "watchTrades": MarketsWanted(names=("BTC/USDT",)),
        "watchTicker": MarketsWanted(every=True),
        "watchOrderBook": MarketsWanted(every=True, quote="USDT"),
    }
    assert part.spool.directory == Path("/data/spool/ccxt-binance-1of2")
    assert part.spool.size_bytes_max == 1_024_000_000


def test_a_spool_directory_of_its_own_holds_one_directory_per_lane() -> None:
    part = collector_settings(tree(ingestion={"spool_dir": "/fast"}), "binance", "0of2")
    assert part.spool.directory == Path("/fast/ccxt-binance-0of2")


def test_a_record_and_its_headers_stay_below_what_the_server_takes() -> None:
    part = collector_settings(tree(nats={"max_payload": 1_000_000}), "binance", "0of2")
    assert part.limits.record_bytes_max == 1_000_000 - 65_536


@pytest.mark.parametrize(
    ("exchange", "shard", "message"),
    [
        ("kraken", "0of1", "'kraken' is not configured.*configured: binance"),
        ("binance", "0of1", "shards is 2; expected <i>of2"),
        ("binance", "0of2rabc", "expected <i>of2"),
    ],
)
def test_a_shard_that_is_not_configured_is_refused(exchange: str, shard: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        collector_settings(tree(), exchange, shard)


def test_a_shard_that_is_none_is_refused() -> None:
    with pytest.raises(NameRefusedError):
        collector_settings(tree(), "binance", "2of2")


def test_wire_capture_is_refused_until_it_exists() -> None:
    with pytest.raises(ConfigurationError, match="capture_wire"):
        collector_settings(tree(ingestion={"capture_wire": True}), "binance", "0of2")
