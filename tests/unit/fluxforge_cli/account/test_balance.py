from fluxforge_cli.account.balance import Counts, Key, differences, lines, merged

BTC: Key = ("binance", "trades", "BTC-USDT")
ETH: Key = ("binance", "trades", "ETH-USDT")
CONTROL: Key = ("binance", "control", None)


def test_a_balance_closes_when_all_places_agree_feed_by_feed() -> None:
    counts = Counts({BTC: 3, CONTROL: 1}, {BTC: 3, CONTROL: 1}, {BTC: 3, CONTROL: 1})
    assert differences(counts) == []
    assert [(line.channel, line.balanced) for line in lines(counts)] == [("trades", True), ("control", True)]


def test_differences_that_cancel_out_within_a_channel_are_named() -> None:
    counts = Counts({BTC: 3, ETH: 2}, {BTC: 2, ETH: 3}, {BTC: 2, ETH: 3})
    assert differences(counts) == [
        "binance BTC-USDT trades: captured 3, sealed 2",
        "binance ETH-USDT trades: captured 2, sealed 3",
    ]


def test_what_was_never_captured_is_named() -> None:
    assert differences(Counts({}, {BTC: 1}, {BTC: 1})) == ["binance BTC-USDT trades: captured 0, sealed 1"]


def test_quarantined_lines_explain_exactly_their_number() -> None:
    assert differences(Counts({BTC: 3}, {BTC: 3}, {BTC: 2}, quarantined={"binance": 1})) == []
    found = differences(Counts({BTC: 3}, {BTC: 3}, {BTC: 1}, quarantined={"binance": 1}))
    assert found == [
        "binance BTC-USDT trades: sealed 3, processed 1",
        "binance: 1 records are named as not processed, 2 lack",
    ]


def test_quarantined_lines_of_one_exchange_explain_nothing_of_another() -> None:
    found = differences(Counts({BTC: 3}, {BTC: 3}, {BTC: 2}, quarantined={"kraken": 1}))
    assert "binance BTC-USDT trades: sealed 3, processed 2" in found


def test_dropped_records_explain_what_was_captured_and_not_sealed() -> None:
    assert differences(Counts({BTC: 5}, {BTC: 3}, {BTC: 3}, dropped={"binance": 2})) == []


def test_quarantine_that_is_not_missing_is_a_difference() -> None:
    found = differences(Counts({BTC: 3}, {BTC: 3}, {BTC: 3}, quarantined={"binance": 1}))
    assert found == ["binance: 1 records are named as not processed, 0 lack"]


def test_a_disabled_channel_is_not_expected_in_parquet() -> None:
    counts = Counts({BTC: 3}, {BTC: 3}, {}, unprocessed=frozenset({"trades"}))
    assert differences(counts) == []
    assert lines(counts)[0].processed is None


def test_counts_of_several_lives_add_up() -> None:
    assert merged([(BTC, 1), (ETH, 2), (BTC, 3)]) == {BTC: 4, ETH: 2}
