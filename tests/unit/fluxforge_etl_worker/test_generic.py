from tests.unit.fluxforge_etl_worker.samples import T0, Recording, S, forged, rows_of, table_of


def test_numbers_are_floats_other_values_text_and_nested_ones_json():
    recording = Recording()
    recording.add("liquidations", "BTC/USDT", T0, [{"price": 1, "side": "buy", "contracts": None}, {"price": 2.5}])
    more = {"price": 3, "side": None, "info": {"a": [1, 2]}, "flag": True, "mixed": 1}
    recording.add("liquidations", "BTC/USDT", T0 + S, more)
    recording.add("liquidations", "BTC/USDT", T0 + 2 * S, {"mixed": "text", "symbol": "BTC/USDT"})
    result = forged(recording.body)
    rows = rows_of(result, "liquidations")
    assert [(row["seq"], row["idx"], row["price"]) for row in rows] == [
        (1, 0, 1.0),
        (1, 1, 2.5),
        (2, 0, 3.0),
        (3, 0, None),
    ]
    assert [row["side"] for row in rows] == ["buy", None, None, None]
    assert rows[2]["info"] == '{"a":[1,2]}'
    assert rows[2]["flag"] == "true"
    assert [row["mixed"] for row in rows] == [None, None, "1", "text"]
    assert rows[3]["data_symbol"] == "BTC/USDT"
    assert str(table_of(result, "liquidations").schema.field("contracts").type) == "double"


def test_candles_are_named_by_their_fields():
    recording = Recording()
    recording.add("ohlcv", "BTC/USDT", T0, [[1700, 1.0, 2.0, 0.5, 1.5, 10.0], [1760, 1.5, 2.5, 1.0, 2.0, 11.0]])
    first, second = rows_of(forged(recording.body), "ohlcv")
    assert (first["timestamp"], first["open"], first["close"], first["volume"]) == (1700.0, 1.0, 1.5, 10.0)
    assert (second["idx"], second["high"]) == (1, 2.5)


def test_a_frame_as_received_is_kept_as_text():
    recording = Recording()
    recording.add("wire", "BTC/USDT", T0, {"text": '{"e":"trade"}'})
    (row,) = rows_of(forged(recording.body), "wire")
    assert row["text"] == '{"e":"trade"}'
