from pathlib import Path
from typing import Any

import pytest

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings
from fluxforge_collector.ccxt_source.settings import venue_settings
from fluxforge_collector.markets_wanted import MarketsWanted
from fluxforge_collector.settings import collector_settings


def tree(**sections: Any) -> Settings:
    exchange = {
        "shards": 2,
        "channels": {"watchTrades": ["BTC/USDT"], "watchTicker": ["*"], "watchOrderBook": {"quote": "USDT"}},
    }
    return Settings(**{"ccxt": {"exchanges": {"binance": exchange}}, **sections})


def test_a_shard_gets_its_part_of_the_tree() -> None:
    settings = tree(storage={"scratch_dir": "/data"})
    part = collector_settings(settings, Lane("ccxt", "binance", "1of2"))
    assert str(part.lane) == "ccxt-binance-1of2"
    assert (part.shard, part.shards) == (1, 2)
    assert venue_settings(settings, "binance").channels == {
        "watchTrades": MarketsWanted(names=("BTC/USDT",)),
        "watchTicker": MarketsWanted(every=True),
        "watchOrderBook": MarketsWanted(every=True, quote="USDT"),
    }
    assert part.spool.directory == Path("/data/spool/ccxt-binance-1of2")
    assert part.spool.size_bytes_max == 1_024_000_000


def test_leg_b_captures_the_same_shard_apart_from_leg_a() -> None:
    exchange = {"shards": 2, "legs": 2, "channels": {"watchTrades": ["BTC/USDT"]}}
    both = Settings(ccxt={"exchanges": {"binance": exchange}}, storage={"scratch_dir": "/data"})
    part = collector_settings(both, Lane("ccxt", "binance", "1of2b"))
    assert (part.shard, part.shards) == (1, 2)
    assert part.spool.directory == Path("/data/spool/ccxt-binance-1of2b")
    with pytest.raises(ConfigurationError, match="lane ccxt-binance-1of2b is not configured"):
        collector_settings(tree(), Lane("ccxt", "binance", "1of2b"))


def test_a_spool_directory_of_its_own_holds_one_directory_per_lane() -> None:
    part = collector_settings(tree(ingestion={"spool_dir": "/fast"}), Lane("ccxt", "binance", "0of2"))
    assert part.spool.directory == Path("/fast/ccxt-binance-0of2")


def test_a_record_and_its_headers_stay_below_what_the_server_takes() -> None:
    part = collector_settings(tree(nats={"max_payload": 1_000_000}), Lane("ccxt", "binance", "0of2"))
    assert part.limits.record_bytes_max == 1_000_000 - 65_536


@pytest.mark.parametrize(
    ("exchange", "shard", "message"),
    [
        ("kraken", "0of1", "ccxt-kraken-0of1 is not configured; configured: ccxt-binance-0of2, ccxt-binance-1of2"),
        ("binance", "0of1", "ccxt-binance-0of1 is not configured; configured: ccxt-binance-0of2"),
        ("binance", "0of2rabc", "ccxt-binance-0of2rabc is not configured"),
    ],
)
def test_a_shard_that_is_not_configured_is_refused(exchange: str, shard: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        collector_settings(tree(), Lane("ccxt", exchange, shard))


def test_a_shard_that_is_none_is_refused() -> None:
    with pytest.raises(NameRefusedError):
        collector_settings(tree(), Lane("ccxt", "binance", "2of2"))


def test_silence_is_learned_within_bounds_unless_a_number_is_given() -> None:
    learned = collector_settings(tree(), Lane("ccxt", "binance", "0of2")).silence
    assert (learned.fixed_ns, learned.floor_ns, learned.ceiling_ns) == (None, 5_000_000_000, 900_000_000_000)
    fixed = collector_settings(tree(ingestion={"stall_seconds": 90}), Lane("ccxt", "binance", "0of2")).silence
    assert fixed.fixed_ns == 90_000_000_000


def test_a_floor_of_silence_above_its_ceiling_is_refused() -> None:
    crossed = {"stall_floor_seconds": 20.0, "stall_ceiling_seconds": 10.0}
    with pytest.raises(ConfigurationError, match=r"stall_floor_seconds: expected at most .* \(10\), was 20"):
        collector_settings(tree(ingestion=crossed), Lane("ccxt", "binance", "0of2"))


def test_the_wire_is_captured_only_where_that_is_asked_for() -> None:
    lane = Lane("ccxt", "binance", "0of2")
    assert not collector_settings(tree(), lane).capture_wire
    assert collector_settings(tree(ingestion={"capture_wire": True}), lane).capture_wire
