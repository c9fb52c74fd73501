import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fluxforge.domain.control import Control, Event
from fluxforge_etl_worker.heads import stamp_of, usual_stamp
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.read import SegmentReader, UnorderedError
from tests.unit.fluxforge_etl_worker.samples import ASKS, BIDS, LANE, MS, T0, Recording, S, trade


def read(body: bytes, **options):
    reader = SegmentReader(LANE, **options)
    for lines in line_slices([body]):
        reader.read(lines)
    return reader, reader.take()


def a_line(**changes) -> bytes:
    recording = Recording()
    recording.ticker(T0, last=1.0)
    return orjson.dumps({**orjson.loads(recording.lines[0]), **changes}) + b"\n"


DEEP = b"[" * 300 + b"]" * 300

BAD_LINES = {
    "torn": a_line()[:80] + b"\n",
    "torn in data": a_line()[:-10] + b"\n",
    "not utf-8": a_line().replace(b"BTC/USDT", b"BTC\xff/USDT"),
    "nan": a_line().replace(b'"last":1.0', b'"last":NaN'),
    "nan before data": a_line().replace(b'"seq":1', b'"seq":NaN'),
    "unknown version": a_line(v=2),
    "version null": a_line(v=None),
    "empty": b"\n",
    "no object": b"[1]\n",
    "no data": b'{"v":1}\n',
    "seq is text": a_line(seq="1"),
    "seq is true": a_line(seq=True),
    "seq is 0": a_line(seq=0),
    "seq is a float": a_line(seq=1.0),
    "capture_ns null": a_line(capture_ns=None),
    "capture_ns beyond int64": a_line(capture_ns=2**63),
    "exchange_ms text": a_line(exchange_ms="1"),
    "symbol null": a_line(symbol=None),
    "symbol too long": a_line(symbol="x" * 300),
    "market empty": a_line(market=""),
    "channel with a slash": a_line(channel="../x"),
    "channel of a dataset": a_line(channel="coverage"),
    "boot null": a_line(boot=None),
    "another exchange": a_line(exchange="kraken"),
    "another source": a_line(source="other"),
    "unknown field": a_line().replace(b'"conn":1', b'"conn":1,"colour":2'),
    "data after data": a_line()[:-2] + b',"data":{}}\n',
    "deeper than can be written": a_line(channel="positions", data=0).replace(b'"data":0', b'"data":' + DEEP),
    "deep data first": b'{"data":' + DEEP + b',"channel":"positions","market":"X","capture_ns":1}\n',
    "control of an unknown event": a_line(channel="control", symbol=None, market=None, data={"event": "boom"}),
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named_with_its_offset_and_the_rest_goes_on(line):
    recording = Recording()
    recording.ticker(T0, last=1.0)
    before = recording.body
    recording.ticker(T0 + S, last=2.0)
    after = recording.body[len(before) :]
    reader, columns = read(before + line + after)
    (bad,) = columns.bad
    assert (bad.offset, bad.line, bad.size_bytes) == (len(before), line[:-1], len(line) - 1)
    assert bad.reason
    assert columns.tickers[0].values["last"].tolist() == [1.0, 2.0]
    assert columns.lines == 3
    assert reader.records == 2
    assert reader.feeds[0].ranges == ((1, 2),)


def test_the_offsets_of_bad_lines_in_a_row_are_each_their_own():
    _, columns = read(b"bad\n" + b"worse\n" + a_line() + b"last\n")
    assert [(bad.offset, bad.line) for bad in columns.bad] == [
        (0, b"bad"),
        (4, b"worse"),
        (10 + len(a_line()), b"last"),
    ]


def test_one_bad_line_spoils_none_of_a_thousand_good_ones():
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    recording.lines.append(recording.lines[0].replace(b"[100.0,2.0]", b"[100.0]"))
    for n in range(1, 1001):
        recording.book(T0 + n, BIDS, ASKS)
    _, columns = read(recording.body)
    assert len(columns.bad) == 1
    assert len(columns.books[0].keys) == 1001


INTEGERS = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.integers(10**18, 10**19).map(str),
    st.sampled_from(["null", "01", "-0", "1.0", "1e3", "true", '"1"', "", " 1", "9223372036854775807"]),
)


@given(conn=INTEGERS, seq=INTEGERS, capture_ns=INTEGERS, exchange_ms=INTEGERS)
@example(conn="0", seq="1", capture_ns=str(T0), exchange_ms="null")
@example(conn="1", seq="999999999999999999", capture_ns="8999999999999999999", exchange_ms="1")
def test_a_stamp_read_at_a_glance_is_what_json_makes_of_it(conn, seq, capture_ns, exchange_ms):
    stamp = f',"conn":{conn},"seq":{seq},"capture_ns":{capture_ns},"exchange_ms":{exchange_ms}'.encode()
    glanced = usual_stamp(b"head" + stamp + b',"data":', 4)
    if glanced is not None:
        assert glanced == (stamp_of(orjson.loads(b"{" + stamp[1:] + b"}")), 4 + len(stamp) + 8)


@pytest.mark.parametrize("exchange_ms", [T0 // MS, None])
def test_the_stamps_our_collectors_write_are_read_at_a_glance(exchange_ms):
    recording = Recording()
    recording.add("ticker", "BTC/USDT", T0, {"last": 1.0}, exchange_ms=exchange_ms)
    line = recording.lines[0]
    found = usual_stamp(line, line.index(b',"conn"'))
    assert found == ((1, T0, exchange_ms, None, False), line.index(b',"data":') + 8)


def test_other_stamps_are_read_all_the_same():
    recording = Recording()
    recording.ticker(T0, last=1.0)
    (line,) = recording.lines
    spaced = line.replace(b'"seq":1', b'"seq" : 2')
    backfilled = line.replace(b',"data"', b',"source_kind":"backfill","data"').replace(b'"seq":1', b'"seq":3')
    _, columns = read(line + spaced + backfilled)
    assert columns.bad == ()
    assert columns.tickers[0].keys.seq.tolist() == [1, 2, 3]


def test_a_last_line_without_line_end_counts_when_it_is_whole():
    recording = Recording()
    recording.ticker(T0, last=1.0)
    _, columns = read(recording.body[:-1])
    assert len(columns.tickers[0].keys) == 1
    assert columns.bad == ()


def test_keys_in_another_order_are_the_same_record():
    raw = orjson.loads(a_line())
    data = raw.pop("data")
    shuffled = orjson.dumps({"data": data, **dict(reversed(raw.items()))}) + b"\n"
    _, columns = read(a_line() + shuffled.replace(b'"seq":1', b'"seq":2'))
    assert columns.bad == ()
    assert columns.tickers[0].keys.seq.tolist() == [1, 2]


def test_a_record_without_v_is_another_recorders_and_is_numbered_within_its_feed():
    lines = [
        {"channel": "ticker", "symbol": "BTC/USDT", "capture_ns": T0, "data": {"last": 1.0}},
        {"channel": "trades", "symbol": "BTC/USDT", "capture_ns": T0 + 1, "data": []},
        {"channel": "ticker", "symbol": "BTC/USDT", "capture_ns": T0 + 2, "data": {"last": 2.0}, "received_by": "me"},
    ]
    _, columns = read(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    (tickers,) = columns.tickers
    assert columns.bad == ()
    assert (tickers.instrument.symbol, tickers.instrument.market) == ("BTC-USDT", "BTC/USDT")
    assert tickers.keys.seq.tolist() == [1, 2]
    assert tickers.keys.boot.tolist() == ["file", "file"]


def test_a_lane_whose_time_falls_is_refused_unless_any_order_is_expected():
    recording = Recording()
    recording.ticker(T0 + S, last=2.0)
    recording.ticker(T0, last=1.0)
    with pytest.raises(UnorderedError):
        read(recording.body)
    _, columns = read(recording.body, any_order=True)
    assert columns.tickers[0].values["last"].tolist() == [1.0, 2.0]
    assert columns.tickers[0].keys.seq.tolist() == [2, 1]


def test_disabled_channels_are_counted_and_left_out():
    recording = Recording()
    recording.ticker(T0, last=1.0)
    recording.trades(T0 + 1, trade("1", "buy", 1.0, 2.0))
    reader, columns = read(recording.body, disabled={"trades"})
    assert columns.trades == ()
    assert reader.disabled_seen == {"trades"}
    assert {feed.channel: feed.count for feed in reader.feeds} == {"ticker": 1, "trades": 1}


def test_ranges_of_seqs_break_where_seqs_are_missing():
    recording = Recording()
    for n in range(6):
        recording.ticker(T0 + n, last=1.0)
    del recording.lines[2]
    reader, _ = read(recording.body)
    assert reader.feeds[0].ranges == ((1, 2), (4, 6))
    assert reader.feeds[0].count == 5


def test_control_records_come_with_their_keys():
    recording = Recording()
    recording.control(T0, Control(Event.CONNECTED))
    _, columns = read(recording.body)
    assert [(row.capture_ns, row.seq, row.control.event) for row in columns.controls] == [(T0, 1, Event.CONNECTED)]


def test_levels_of_size_zero_are_no_levels():
    recording = Recording()
    recording.book(T0, [[3, 1], [2, 0], [1, 1]], [[4, 0]])
    recording.book(T0 + 1, [[3, 0]], [[4, 1]])
    _, columns = read(recording.body)
    (books,) = columns.books
    assert books.bids.px.tolist() == [3, 1]
    assert books.bids.offsets.tolist() == [0, 2, 2]
    assert books.asks.offsets.tolist() == [0, 0, 1]
