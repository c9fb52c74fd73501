import pytest

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.lane import Lane, Leg, shard_of


def test_a_lane_has_one_name_for_each_place() -> None:
    lane = Lane("ccxt", "binanceus", "0of1")
    assert str(lane) == "ccxt-binanceus-0of1"
    assert Lane.parse(str(lane)) == lane
    assert lane.stream(3) == "MD_ccxt_binanceus_0of1_3"
    assert lane.subject(3) == "md.ccxt.binanceus.0of1.3"
    assert lane.folder == "ccxt/binanceus-0of1"
    assert not lane.is_rescue
    assert Lane("ccxt", "binance", "0of1r9f3c21ab").is_rescue


def test_leg_b_of_a_lane_writes_datasets_of_its_own() -> None:
    lane = Lane.parse("ccxt-binance-1of2b")
    assert (lane.index, lane.shards, lane.leg, lane.dataset_source) == (1, 2, Leg.B, "ccxt.b")
    assert lane.stream(3) == "MD_ccxt_binance_1of2b_3"
    assert not lane.is_rescue
    rescue = Lane("ccxt", "binance", "1of2brb00c")
    assert (rescue.leg, rescue.is_rescue, rescue.dataset_source) == (Leg.B, True, "ccxt.b")
    assert Lane("ccxt", "binance", "1of2").dataset_source == "ccxt"
    assert Lane("ccxt", "binance", "1of2rb00c").leg is Leg.A
    merged = Lane.merged("ccxt", "binance")
    assert (str(merged), merged.leg, merged.dataset_source) == ("ccxt-binance-0of1m", Leg.MERGED, "ccxt.merged")


@pytest.mark.parametrize("shard", ["", "0", "1of1", "0of0", "-1of2", "0of1x", "aofb", "0of2m", "0of1c", "0of1bb"])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(NameRefusedError, match="0of1"):
        Lane("ccxt", "binance", shard)


@pytest.mark.parametrize("name", ["ccxt-binance", "ccxt-binance-0of1-x", "Ccxt-binance-0of1"])
def test_a_name_that_is_no_lane_is_refused(name: str) -> None:
    with pytest.raises(NameRefusedError):
        Lane.parse(name)


def test_a_symbol_stays_in_its_shard() -> None:
    # Fixed values: a symbol that moves to another shard would break the order of its feed.
    assert [shard_of(symbol, 4) for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT")] == [3, 1, 3]
    assert {shard_of(f"S{i}-USDT", 4) for i in range(100)} == {0, 1, 2, 3}
    with pytest.raises(ConfigurationError):
        shard_of("BTC-USDT", 0)
