import pyarrow as pa
import pytest

from fluxforge.domain.errors import SchemaMismatchError
from fluxforge_etl_worker.columns import SliceColumns
from fluxforge_etl_worker.generic import conformed, field_types, generic_table
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.read import SegmentReader
from fluxforge_etl_worker.schemas import GENERIC_KEYS, MORE, TRADES, check_schema, structure_schema
from tests.unit.fluxforge_etl_worker.samples import LANE, MS, T0, Recording, S

MARKET = "BTC/USDT"


def read(recording: Recording) -> SliceColumns:
    reader = SegmentReader(LANE)
    for lines in line_slices([recording.body]):
        reader.read(lines)
    return reader.take()


def table(*data: object, channel: str = "open_interest") -> pa.Table:
    recording = Recording()
    for at, item in enumerate(data):
        recording.add(channel, MARKET, T0 + at * S, item)
    (rows,) = read(recording).generic
    found = generic_table(rows, field_types([rows]))
    check_schema(channel, found, ())
    return found


def reason(channel: str, data: object) -> str:
    recording = Recording()
    recording.add(channel, MARKET, T0, data)
    (bad,) = read(recording).bad
    return bad.reason


def fields(found: pa.Table) -> list[dict[str, object]]:
    return found.drop_columns([field.name for field in GENERIC_KEYS if field.name != "idx"]).to_pylist()


def test_candles_are_named_by_their_fields():
    found = table([[1700, 1, 2.0, 0.5, 1.5, 10], [1760, 1.5, 2.5, 1.0, 2.0, None]], channel="ohlcv")
    assert fields(found) == [
        {"idx": 0, "start_ms": 1700, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 10.0},
        {"idx": 1, "start_ms": 1760, "open": 1.5, "high": 2.5, "low": 1.0, "close": 2.0, "volume": None},
    ]


@pytest.mark.parametrize("channel", ["bidsasks", "mark_price"])
def test_a_channel_of_tickers_has_the_columns_of_tickers(channel):
    ticker = {"symbol": MARKET, "bid": 1, "bidVolume": 2.5, "ask": 1.5, "markPrice": 3, "last": None, "odd": "left out"}
    (row,) = fields(table(ticker, channel=channel))
    assert (row["bid"], row["bid_size"], row["ask"], row["mark_price"], row["last"]) == (1.0, 2.5, 1.5, 3.0, None)
    assert "odd" not in row


def test_a_liquidation_has_its_own_time():
    first = {
        "timestamp": T0 // MS - 7,
        "side": "sell",
        "price": 10,
        "contracts": 2,
        "contractSize": 0.5,
        "baseValue": 1,
    }
    found = table([first, {"timestamp": None, "quoteValue": 4}], channel="liquidations")
    assert found["exchange_ms"].to_pylist() == [T0 // MS - 7, None]
    one, two = fields(found)
    assert (one["side"], one["price"], one["contracts"], one["contract_size"], one["base_value"]) == (
        "sell",
        10.0,
        2.0,
        0.5,
        1.0,
    )
    assert (two["idx"], two["side"], two["quote_value"]) == (1, None, 4.0)


def test_a_funding_rate_keeps_its_times_whole():
    rate = {"fundingRate": 1e-4, "fundingTimestamp": 1700000000001, "nextFundingTimestamp": 1.7e12, "interval": "8h"}
    (row,) = fields(table(rate, channel="funding_rate"))
    assert (row["funding_rate"], row["funding_ms"], row["next_funding_ms"]) == (1e-4, 1700000000001, 1700000000000)
    assert (row["interval"], row["previous_funding_ms"], row["mark_price"]) == ("8h", None, None)


def test_a_channel_has_one_schema_whatever_its_fields_hold():
    full = table({"fundingRate": 1, "interval": "8h"}, channel="funding_rate")
    assert full.schema.equals(table({}, channel="funding_rate").schema)
    assert full.schema.equals(structure_schema("funding_rate"))


@pytest.mark.parametrize(
    ("channel", "data", "names"),
    [
        ("ohlcv", [[1, 2, 3, 4, 5]], "ohlcv: expected [timestamp, open, high, low, close, volume]"),
        ("ohlcv", [[1.5, 2, 3, 4, 5, 6]], "ohlcv: timestamp: expected whole milliseconds"),
        ("ohlcv", [[1, 2, "3", 4, 5, 6]], "ohlcv: high: expected a number, was str"),
        ("bidsasks", {"bid": "1"}, "bidsasks: bid: expected a number, was str"),
        ("bidsasks", {"bid": True}, "bidsasks: bid: expected a number, was bool"),
        ("mark_price", 5, "mark_price: expected an object, was int"),
        ("liquidations", [{"side": 1}], "liquidations: side: expected a string, was int"),
        ("funding_rate", {"fundingTimestamp": "now"}, "funding_rate: fundingTimestamp: expected whole milliseconds"),
    ],
)
def test_a_field_of_the_wrong_type_is_a_bad_line_that_names_it(channel, data, names):
    assert reason(channel, data).startswith(names)


def test_without_a_structure_numbers_are_floats_other_values_text_and_nested_ones_json():
    found = table(
        [{"price": 1, "side": "buy", "nothing": None}, {"price": 2.5}],
        {"price": 3, "side": None, "nested": {"a": [1, 2]}, "flag": True, "mixed": 1.0},
        {"mixed": "text"},
    )
    rows = fields(found)
    assert [(row["idx"], row["price"]) for row in rows] == [(0, 1.0), (1, 2.5), (0, 3.0), (0, None)]
    assert [row["side"] for row in rows] == ["buy", None, None, None]
    assert (rows[2]["nested"], rows[2]["flag"]) == ('{"a":[1,2]}', "true")
    assert [row["mixed"] for row in rows] == [None, None, "1", "text"]
    assert found.schema.field("nothing").type == pa.string()
    assert found["more"].null_count == len(rows)


def test_no_field_takes_the_name_of_a_key_of_a_partition_column_or_of_another_field():
    data = {"symbol": 1, "data_symbol": 2, "date": 3, "more": 4, "": 5, "idx": 6}
    names = ["data_symbol", "data_data_symbol", "data_date", "data_more", "data_", "data_idx"]
    assert table(data).column_names == [*(field.name for field in GENERIC_KEYS), *names, "more"]


def test_a_payload_that_is_no_object_is_a_value():
    assert [row["value"] for row in fields(table([1, 2.5]))] == [1.0, 2.5]


def test_fields_beyond_the_limit_of_columns_are_kept_in_more():
    found = table({f"f{number:03}": number for number in range(258)})
    assert found.num_columns == len(GENERIC_KEYS) + 256 + 1
    assert found["more"].to_pylist() == ['{"f256":256.0,"f257":257.0}']


def test_a_frame_as_received_is_kept_as_text():
    assert fields(table({"text": '{"e":"trade"}'}, channel="wire"))[0]["text"] == '{"e":"trade"}'


def test_a_part_is_conformed_to_the_columns_that_stand():
    standing = table({"number": 1, "text": "a", "gone": 2}).schema
    later = table({"text": 5, "number": "odd", "extra": [1]}, {"text": 0.5, "number": None})
    found = conformed(later, standing)
    assert found.schema.equals(standing)
    first, second = fields(found)
    assert first == {"idx": 0, "number": None, "text": "5", "gone": None, "more": '{"number":"odd","extra":"[1]"}'}
    assert second == {"idx": 0, "number": None, "text": "0.5", "gone": None, "more": None}
    assert found.select(range(len(GENERIC_KEYS))).equals(later.select(range(len(GENERIC_KEYS))))


def test_what_was_in_more_stays_there():
    wide = table({f"f{number:03}": number for number in range(257)})
    found = conformed(wide, table({f"f{number:03}": 1 for number in range(1, 256)}).schema)
    assert found["more"].to_pylist() == ['{"f256":256.0,"f000":0.0}']


def test_a_part_of_the_same_columns_in_another_order_is_put_in_theirs():
    standing = table({"a": 1, "b": 2}).schema
    found = conformed(table({"b": 3, "a": 4}), standing)
    assert found.schema.equals(standing)
    assert (found["a"].to_pylist(), found["b"].to_pylist()) == ([4.0], [3.0])


def test_a_part_is_not_conformed_to_what_is_no_such_channel():
    with pytest.raises(SchemaMismatchError):
        conformed(table({"a": 1}), TRADES)


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([*GENERIC_KEYS, pa.field("a", pa.int64()), MORE]),
        pa.schema([*GENERIC_KEYS, pa.field("a", pa.float64())]),
        pa.schema([*GENERIC_KEYS[1:], pa.field("a", pa.float64()), MORE]),
    ],
)
def test_a_channel_without_a_structure_still_has_rules(schema):
    with pytest.raises(SchemaMismatchError):
        check_schema("open_interest", schema.empty_table(), ())
