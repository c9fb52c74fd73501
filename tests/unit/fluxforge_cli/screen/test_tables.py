from io import StringIO

from rich.console import Console

from fluxforge.domain.status import LaneStatus
from fluxforge_cli.screen.tables import line, tables
from fluxforge_cli.screen.view import EtlRow, FeedRow, View

FEED = FeedRow("binance", "trades", "BTC-USDT", 1200, 34.56, 3, 64_000.5, sound=True)
LANE = LaneStatus("ccxt-binance-0of1", 1, 91, 70, 2, 1100, 2_500_000, 300_000)
VIEW = View((FEED,), (LANE,), EtlRow(3, 2, 1000, 0, {"trades": 900, "orderbook/hf": 12}), captured=1201)


def drawn(view: View) -> str:
    out = StringIO()
    Console(file=out, width=120).print(tables(view, title="FluxForge"))
    return out.getvalue()


def test_every_feed_lane_and_dataset_is_shown_with_its_numbers() -> None:
    text = drawn(VIEW)
    for expected in ("binance BTC-USDT trades", "1,200", "34.6", "64,000.5", "sound"):
        assert expected in text
    for expected in ("ccxt-binance-0of1", "91", "70", "1,100", "2.5", "0.3", "2 segments", "900", "12"):
        assert expected in text


def test_what_is_unknown_is_left_empty() -> None:
    text = drawn(View((FeedRow("binance", "ticker", "A-B", 1, None, None, None, sound=False),)))
    assert "None" not in text
    assert "not sound" in text


def test_many_feeds_are_summed_up() -> None:
    feeds = tuple(FeedRow("binance", "trades", f"S{n}-USDT", 10, 1.0, 0, 1.0, sound=True) for n in range(30))
    text = drawn(View(feeds))
    assert "and 6 more feeds" in text
    assert "60" in text


def test_trouble_is_shown() -> None:
    text = drawn(View(dropped=7, silent=("status.segmenter.0",)))
    assert "7 records dropped" in text
    assert "not heard of late: status.segmenter.0" in text


def test_the_line_says_the_same_in_short() -> None:
    assert line(VIEW) == (
        "captured 1,201 (35/s) | sealed 1,100 in 2 segments | parquet 912 rows of 1,000 records, backlog 3"
    )


def test_the_line_names_feeds_that_are_not_sound_and_drops() -> None:
    unsound = FeedRow("binance", "ticker", "A-B", 1, None, None, None, sound=False)
    view = View((FEED, unsound), dropped=2)
    assert line(view).endswith("| 1 of 2 feeds not sound | dropped 2")
    assert "not sound" not in line(view, draining=True)
