import orjson
import pytest

from tests.unit.fluxforge_collector.databento_source.dbn import (  # isort: skip - skips where the package is absent
    INSTRUMENT,
    LAST,
    MARKET,
    MAYBE_BAD,
    S,
    SNAPSHOT,
    T0,
    minute,
    order,
    quote,
    trade,
)
from datetime import date

from fluxforge.domain.errors import RecordError
from fluxforge_collector.databento_source.markets import Markets
from fluxforge_collector.databento_source.translate import Doubt, Translator, Update

SPAN = {"start_date": date(2023, 11, 1), "end_date": date(2023, 12, 1), "symbol": str(INSTRUMENT)}
MARKETS = {MARKET: [SPAN]}


def told(schema, records, *, depth=50, with_trades=True):
    translator = Translator(schema, Markets.of(MARKETS), depth=depth, with_trades=with_trades)
    found = [item for record in records for item in translator.take(record)]
    return found + list(translator.end())


def data(update: Update):
    return orjson.loads(update.data)


def test_a_trade_has_the_form_of_ccxt_and_the_side_of_the_taker():
    (update,) = told("trades", [trade(10, 4500.25, 3, "A")])
    assert (update.at_ns, update.channel, update.market) == (T0 + 10, "trades", MARKET)
    assert update.exchange_ms == (T0 + 5) // 1_000_000
    (row,) = data(update)
    assert row == {
        "id": "10",
        "symbol": MARKET,
        "timestamp": update.exchange_ms,
        "side": "sell",
        "price": 4500.25,
        "amount": 3.0,
        "cost": None,
        "takerOrMaker": "taker",
    }


def test_trades_that_share_a_sequence_have_ids_of_their_own_and_no_side_is_none():
    updates = told("trades", [trade(n, 1.0, side="N", sequence=s) for n, s in ((1, 5), (2, 5), (3, 6), (4, 0))])
    rows = [data(update)[0] for update in updates]
    assert [row["id"] for row in rows] == ["5", "5.1", "6", None]
    assert {row["side"] for row in rows} == {None}


def test_trades_of_two_venues_with_one_sequence_are_two_trades():
    told_by = [(5, 1), (5, 2), (5, 1), (5, 2), (6, 2)]
    updates = told("trades", [trade(n, 1.0, sequence=s, publisher_id=p) for n, (s, p) in enumerate(told_by)])
    assert [data(update)[0]["id"] for update in updates] == ["5", "5@2", "5.1", "5.1@2", "6@2"]


def test_an_instrument_that_the_file_does_not_name_goes_by_its_id():
    (update,) = told("trades", [trade(10, 1.0, instrument_id=99)])
    assert update.market == "99"


def test_a_quote_is_a_book_of_one_level_told_at_the_end_of_its_event():
    taken = told("mbp-1", [quote(1, 10.0, 11.0, "T", flags=0), quote(2, 10.0, 10.5, "C")])
    assert [update.channel for update in taken] == ["trades", "orderbook"]
    assert data(taken[1])["bids"] == [[10.0, 3.0]]
    assert data(taken[1])["asks"] == [[10.5, 4.0]]
    (book,) = told("mbp-1", [quote(1, 10.0, 11.0, "T", flags=0), quote(2, 10.0, 10.5, "C")], with_trades=False)
    assert book == taken[1]


def test_a_side_without_a_price_has_no_level():
    (update,) = told("mbp-1", [quote(1, None, 11.0)])
    assert (data(update)["bids"], data(update)["asks"]) == ([], [[11.0, 4.0]])


def test_books_that_the_publisher_doubts_are_left_out_and_counted():
    taken = told("mbp-1", [quote(1, 1.0, 2.0), quote(2, 1.0, 2.0, flags=LAST | MAYBE_BAD), quote(3, 1.0, 3.0)])
    kinds = [(type(item), item.at_ns - T0) for item in taken]
    assert kinds == [(Update, 1), (Doubt, 2), (Update, 3), (Doubt, 3)]
    assert taken[3].records == 1


def test_a_snapshot_of_orders_is_one_book_without_a_time_of_the_venue():
    flags = SNAPSHOT
    records = [
        order(1, "R", flags=flags),
        order(1, "A", "B", 1, 10.0, 2, flags=flags),
        order(1, "A", "A", 2, 11.0, 3, flags=flags | LAST),
        order(5, "A", "B", 3, 10.5, 1),
    ]
    first, second = told("mbo", records)
    assert (first.at_ns, first.exchange_ms) == (T0 + 1, None)
    assert (data(first)["bids"], data(first)["asks"]) == ([[10.0, 2.0]], [[11.0, 3.0]])
    assert data(second)["bids"] == [[10.5, 1.0], [10.0, 2.0]]
    assert second.exchange_ms is not None


def test_of_deep_books_the_first_levels_are_told():
    records = [order(1, "R"), *(order(n, "A", "B", n, float(n), 1) for n in range(2, 9))]
    assert [level[0] for level in data(told("mbo", records, depth=3)[-1])["bids"]] == [8.0, 7.0, 6.0]


def test_trades_and_fills_leave_the_book_as_it_is():
    records = [
        order(1, "R"),
        order(2, "A", "A", 1, 10.0, 5),
        order(3, "T", "B", 0, 10.0, 2, flags=0),
        order(3, "F", "A", 1, 10.0, 2, flags=0),
        order(4, "C", "A", 1, 10.0, 2),
    ]
    taken = told("mbo", records)
    assert [item.channel for item in taken] == ["orderbook", "orderbook", "trades", "orderbook"]
    assert data(taken[-1])["asks"] == [[10.0, 3.0]]


def test_orders_of_a_book_whose_begin_is_not_known_are_no_book():
    taken = told("mbo", [order(1, "A", "B", 1, 10.0, 2), order(2, "C", "B", 8, 9.0, 1)])
    assert [type(item) for item in taken] == [Doubt, Doubt]
    assert taken[0].reason == "orders of a book whose begin is not known"
    assert taken[1].records == 2


def test_a_book_with_missed_orders_is_not_told_again_before_the_next_clear():
    records = [
        order(1, "R"),
        order(2, "A", "B", 1, 10.0, 2),
        order(3, "C", "B", 77, 10.0, 1),
        order(4, "A", "B", 2, 11.0, 2),
        order(5, "R"),
        order(6, "A", "B", 3, 12.0, 2),
    ]
    taken = told("mbo", records)
    assert [(type(item), item.at_ns - T0) for item in taken[:-1]] == [
        (Update, 1),
        (Update, 2),
        (Doubt, 3),
        (Update, 5),
        (Update, 6),
    ]
    assert taken[2].reason == "order 77 is not in the book"
    assert data(taken[4])["bids"] == [[12.0, 2.0]]


def test_records_that_end_within_an_event_are_doubted():
    taken = told("mbo", [order(1, "R"), order(2, "A", "B", 1, 10.0, 2, flags=0)])
    assert (taken[-1].reason, taken[-1].records) == ("the records end within an event", 1)


def test_a_candle_of_a_minute_is_known_when_it_ends():
    (update,) = told("ohlcv-1m", [minute(T0, 4.5)])
    assert (update.at_ns, update.channel, update.exchange_ms) == (T0 + 60 * S, "ohlcv", T0 // 1_000_000)
    assert data(update) == [[T0 // 1_000_000, 4.5, 4.5, 4.5, 4.5, 9.0]]
    (other,) = told("ohlcv-1h", [minute(T0, 4.5)])
    assert (other.channel, data(other)["start_ms"]) == ("ohlcv_1h", T0 // 1_000_000)


def test_books_of_two_publishers_of_one_instrument_are_refused():
    with pytest.raises(RecordError, match="publishers 1 and 2"):
        told("mbp-1", [quote(1, 1.0, 2.0), quote(2, 1.0, 2.0, publisher_id=2)])


def test_a_record_of_another_schema_is_refused():
    with pytest.raises(RecordError, match="another schema: TradeMsg, expected MBOMsg"):
        told("mbo", [trade(1, 1.0)])
    with pytest.raises(RecordError, match="schema 'status': expected one of trades, mbp-1"):
        told("status", [])
