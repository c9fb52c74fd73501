from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge_cli.account.audit.books import Said
from fluxforge_cli.account.audit.findings import FeedId
from fluxforge_cli.account.audit.said import said_in_lines, said_in_rows
from fluxforge_etl_worker.columns import ControlRow
from fluxforge_etl_worker.coverage import control_rows, coverage_table, crash_rows

BOOK, TRADES = FeedKey("orderbook", "A-B"), FeedKey("trades", "A-B")
CONTROLS = (
    Control(Event.STARTED, hole="b2:1", feeds=(BOOK, TRADES), from_ns=20, after=After("b1", 7, 10)),
    Control(
        Event.DROPPED, hole="b2:2", scope=BOOK, from_ns=30, count=3, detail={"first_seq": 4, "last_seq": 6}, to_ns=31
    ),
    Control(Event.DROPPED, hole="b2:2", scope=BOOK, from_ns=30, repeat=True),
    Control(Event.DROPPED, detail={"channel": "control", "first_seq": 2, "last_seq": 2}, from_ns=33),
    Control(Event.REJECTED, scope=TRADES, detail={"seq": 9}),
    Control(Event.STOPPED, feeds=(BOOK, TRADES), from_ns=40),
)


def line(seq: int, control: Control) -> bytes:
    writer = RecordWriter(Feed("ccxt", "binance", "control", None), "b2")
    return writer.line(conn=1, seq=seq, capture_ns=20 + seq, exchange_ms=None, data=control.to_json())


LINES = [line(seq, control) for seq, control in enumerate(CONTROLS, 1)]


def test_lines_tell_which_seqs_are_lost_and_how_boots_ended() -> None:
    said = list(said_in_lines(LINES))
    lost = {(one.feed, one.lost) for one in said if one.lost}
    assert lost == {
        (FeedId("b2", "orderbook", "A-B"), ((4, 6),)),
        (FeedId("b2", "trades", "A-B"), ((9, 9),)),
        (FeedId("b2", "control", None), ((2, 2),)),
    }
    assert Said("crash", "b2", None, (), 10, 21) in said
    assert {one.boot for one in said if one.event == "stopped"} == {"b2"}


def test_coverage_rows_tell_the_same_as_the_lines_they_were_made_of() -> None:
    rows = [ControlRow(20 + seq, "b2", seq, control) for seq, control in enumerate(CONTROLS, 1)]
    table = coverage_table("binance", [*control_rows(rows), *crash_rows(rows, ())])
    from_rows = list(said_in_rows(table.to_pylist()))
    from_lines = list(said_in_lines(LINES))
    assert {one for one in from_rows if one.event != "crash"} == {one for one in from_lines if one.event != "crash"}
    for said in (from_rows, from_lines):
        assert {(one.boot, one.from_ns, one.to_ns) for one in said if one.event == "crash"} == {("b2", 10, 21)}


def test_seqs_of_a_segment_that_was_given_up_are_not_named_as_lost() -> None:
    row = {"channel": "trades", "symbol": "A-B", "hole": None, "event": "lost", "boot": "b2", "seq": 3}
    row |= {"from_ns": 1, "to_ns": 2, "first_seq": 3, "last_seq": 9}
    assert list(said_in_rows([row])) == [Said("lost", "b2", FeedId("b2", "trades", "A-B"), (), 1, 2, None, 3)]


def test_what_is_no_control_record_says_nothing() -> None:
    torn = LINES[1][:90]
    other = LINES[1].replace(b'"channel":"control"', b'"channel":"ticker"', 1)
    unknown = LINES[1].replace(b'"event":"dropped"', b'"event":"unheard"')
    assert list(said_in_lines([torn, other, unknown, b"", b'{"channel":"control"}'])) == []
