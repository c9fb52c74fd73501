from fluxforge.domain.status import CollectorStatus, FeedStatus
from fluxforge_cli.account.captured import captured, dropped

READY = True


def status(*, all_records: int, trades: int, lost: int = 0) -> CollectorStatus:
    feeds = (FeedStatus("trades", "BTC-USDT", trades, None, None, sound=True),)
    return CollectorStatus(
        "ccxt-binance-0of1", 0, READY, all_records, all_records, 0, 0, lost, 1, feeds, boot=f"b{all_records}"
    )


def test_what_is_in_no_feed_are_control_records() -> None:
    assert captured([status(all_records=10, trades=7)]) == {
        ("binance", "trades", "BTC-USDT"): 7,
        ("binance", "control", None): 3,
    }


def test_lives_and_shards_of_an_exchange_add_up() -> None:
    found = captured([status(all_records=10, trades=7), status(all_records=5, trades=4)])
    assert found["binance", "trades", "BTC-USDT"] == 11


def test_dropped_records_are_counted_by_exchange() -> None:
    assert dropped([status(all_records=10, trades=7, lost=2), status(all_records=5, trades=4, lost=1)]) == {
        "binance": 3
    }
