from fluxforge.domain.lane import Lane
from tests.unit.fluxforge_etl_worker.samples import MS, T0, Recording, S, forged, rows_of, trade


def test_a_trade_has_its_own_time_and_place_in_its_record():
    recording = Recording()
    recording.trades(T0, trade("a", "buy", 2.0, 3.0, T0 - 5 * MS), trade(None, None, 2.5, 1.0, T0 - 3 * MS))
    recording.trades(T0 + S, trade("b", "sell", 1.0, 1.0), backfill=True)
    first, second, third = rows_of(forged(recording.body), "trades")
    assert (first["trade_id"], first["side"], first["price"], first["amount"], first["cost"]) == ("a", "buy", 2, 3, 6)
    assert (first["seq"], first["idx"], second["seq"], second["idx"]) == (1, 0, 1, 1)
    assert (first["exchange_ms"], second["exchange_ms"]) == (T0 // MS - 5, T0 // MS - 3)
    assert (second["trade_id"], second["side"]) == (None, None)
    assert (first["source_kind"], third["source_kind"]) == (None, "backfill")
    assert not first["resent"]


def test_a_record_without_trades_gives_no_row():
    recording = Recording()
    recording.trades(T0)
    result = forged(recording.body)
    assert result.rows == {}
    assert result.feeds[0].count == 1


def test_where_the_venue_tells_the_maker_s_side_rows_tell_the_taker_s():
    recording = Recording(Lane("ccxt", "coinbase", "0of1"))
    recording.trades(T0, trade("a", "buy", 2.0, 3.0), trade("b", "sell", 2.0, 3.0), trade("c", None, 2.0, 3.0))
    rows = rows_of(forged(recording.body, lane=recording.lane), "trades")
    assert [row["side"] for row in rows] == ["sell", "buy", None]
