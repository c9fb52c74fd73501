import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.domain.partition import Dataset, check_partition_cols, dataset_root, part_name, partition_path

LANE = Lane("ccxt", "binance", "0of1")


def test_a_part_has_one_place() -> None:
    values = {"exchange": "binance", "symbol": "BTC-USDT_USDT", "date": "2026-11-22"}
    path = "/".join(
        [
            dataset_root("processed", "ccxt", Dataset.HF),
            partition_path(("exchange", "symbol", "date"), values),
            part_name(LANE, "segment_20261122T16_00001"),
        ]
    )
    assert path == (
        "processed/ccxt/orderbook/hf/exchange=binance/symbol=BTC-USDT_USDT/date=2026-11-22/"
        "part_ccxt-binance-0of1_segment_20261122T16_00001.parquet"
    )


def test_a_hostile_symbol_stays_in_its_partition() -> None:
    assert partition_path(("symbol",), {"symbol": "../../x"}) == "symbol=%2E%2E%2F%2E%2E%2Fx"


@pytest.mark.parametrize("cols", [["exchange", "exchange"], ["venue"], ["exchange", "datum"]])
def test_partition_columns_are_known_and_distinct(cols: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="partition column"):
        check_partition_cols(cols)
