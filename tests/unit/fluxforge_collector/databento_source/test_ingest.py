from itertools import pairwise

import orjson
import pyarrow.parquet as pq
import pytest

from tests.unit.fluxforge_collector.databento_source.dbn import (  # isort: skip - skips where the package is absent
    LAST,
    MARKET,
    S,
    SNAPSHOT,
    T0,
    order,
    quote,
    trade,
    written,
)
from fluxforge.adapters.local_store import LocalStore
from fluxforge.dataset import Datasets
from fluxforge.domain.errors import InputFileError, NameRefusedError
from fluxforge.domain.layout import Layout
from fluxforge_cli.account.coverage.take import Asked, take
from fluxforge_collector.databento_source.ingest import Ingest
from fluxforge_etl_worker.folder import adopt_folder, run_folder
from tests.unit.fluxforge_etl_worker.test_folder import settings_on

LANE = "raw/ready/databento/glbxmdp3-0of1"


def ingest(data, *paths, segment_bytes_max=10**8):
    store = LocalStore(data, sync=False)
    how = Ingest(store, Layout(), data / "scratch", depth=50, segment_bytes_max=segment_bytes_max)
    done = how.run(paths)
    adopt_folder(settings_on(data), "databento")
    return done


def lines(data):
    files = sorted((data / LANE).glob("*.ndjson"))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]


def rows(data, dataset):
    files = sorted((data / "processed/databento" / dataset).rglob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def standing(data):
    return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_files_of_a_dataset_are_one_lane_in_the_order_of_their_times(tmp_path, data):
    quotes = written(tmp_path / "q.dbn", "mbp-1", [quote(1 * S, 1.0, 2.0), quote(3 * S, 1.5, 2.0)])
    trades = written(tmp_path / "t.dbn", "trades", [trade(2 * S, 2.0), trade(3 * S, 2.0)])
    (done,) = ingest(data, trades, quotes)
    assert (str(done.lane), dict(done.updates)) == ("databento-glbxmdp3-0of1", {"trades": 2, "orderbook": 2})
    found = lines(data)
    times = [line["capture_ns"] for line in found]
    assert times == sorted(set(times))
    assert [(line["channel"], line["seq"]) for line in found if line["channel"] != "control"] == [
        ("orderbook", 1),
        ("trades", 1),
        ("trades", 2),
        ("orderbook", 2),
    ]
    assert [line["capture_ns"] - T0 for line in found if line["channel"] == "trades"] == [2 * S, 3 * S]
    events = [(line["data"]["event"], line["data"]["reason"]) for line in found if line["channel"] == "control"]
    assert events == [
        ("started", "q.dbn: mbp-1"),
        ("resynced", "q.dbn: mbp-1"),
        ("started", "t.dbn: trades"),
        ("recovered", "t.dbn: trades"),
        ("stopped", "t.dbn: trades"),
        ("stopped", "q.dbn: mbp-1"),
    ]
    assert len({line["boot"] for line in found}) == 2


def test_ingested_again_nothing_changes_and_with_others_it_is_refused(tmp_path, data):
    first = written(tmp_path / "a.dbn", "trades", [trade(1, 2.0)])
    second = written(tmp_path / "b.dbn", "trades", [trade(2, 2.0)])
    ingest(data, first)
    before = standing(data)
    (again,) = ingest(data, first)
    assert (again.done_before, standing(data)) == (1, before)
    with pytest.raises(InputFileError, match=r"a\.dbn: was ingested before: its records stand in databento-glbxmdp3"):
        ingest(data, second, first)
    assert standing(data) == before


def test_segments_are_cut_by_size_and_hold_the_same_records(tmp_path, data):
    path = written(tmp_path / "t.dbn", "trades", [trade(n * S, float(n)) for n in range(1, 41)])
    (done,) = ingest(data, path, segment_bytes_max=4_000)
    assert len(done.segments) > 2
    found = lines(data)
    assert [line["seq"] for line in found if line["channel"] == "trades"] == list(range(1, 41))
    times = [line["capture_ns"] for line in found]
    assert times == sorted(set(times))
    summary = run_folder(settings_on(data))
    assert (summary.processed, summary.rows["trades"]) == (len(done.segments), 40)


@pytest.mark.parametrize("bad", ["cut", "other", "mixed"])
def test_of_files_of_which_one_is_bad_nothing_is_written(tmp_path, data, bad):
    good = written(tmp_path / "good.dbn", "trades", [trade(1, 2.0)])
    wrong = written(tmp_path / "wrong.dbn", "mbp-1", [quote(n, 1.0, 2.0) for n in range(1, 9)])
    if bad == "cut":
        wrong.write_bytes(wrong.read_bytes()[:-7])
    elif bad == "other":
        wrong = written(tmp_path / "wrong.dbn", "status", [quote(1, 1.0, 2.0)])
    else:
        wrong = written(tmp_path / "wrong.dbn", "mbo", [quote(1, 1.0, 2.0)])
    with pytest.raises(InputFileError, match=r"wrong\.dbn: "):
        ingest(data, good, wrong)
    assert standing(data) == []


def test_two_views_of_one_book_and_a_file_named_twice_are_refused(tmp_path, data):
    quotes = written(tmp_path / "q.dbn", "mbp-1", [quote(1, 1.0, 2.0)])
    orders = written(tmp_path / "o.dbn", "mbo", [order(1, "R")])
    with pytest.raises(InputFileError, match="two views of one book"):
        ingest(data, quotes, orders)
    copy = written(tmp_path / "copy.dbn", "mbp-1", [quote(1, 1.0, 2.0)])
    with pytest.raises(InputFileError, match=r"holds the same as .*q\.dbn"):
        ingest(data, copy, quotes)


def test_trades_among_the_records_of_a_book_are_kept_where_no_file_of_trades_is_given(tmp_path, data):
    path = written(tmp_path / "q.dbn", "mbp-1", [quote(1, 1.0, 2.0, "T", flags=0), quote(2, 1.0, 2.0)])
    (done,) = ingest(data, path)
    assert dict(done.updates) == {"trades": 1, "orderbook": 1}


def pre_open(at, bid, ask):
    flags = SNAPSHOT
    return [
        order(at, "R", flags=flags),
        order(at, "A", "B", 1, bid, 2, flags=flags),
        order(at, "A", "A", 2, ask, 3, flags=flags | LAST),
    ]


def test_a_book_crossed_before_the_open_is_coverage_and_no_feature(tmp_path, data):
    open_at = 40 * S
    records = [
        *pre_open(1, 12.0, 10.0),
        *(order(n * S, "A", "B", 10 + n, 9.0, 1) for n in range(1, 40)),
        order(open_at, "C", "B", 1, 12.0, 2),  # the auction takes what crossed
        *(order(open_at + n * S, "A", "B", 100 + n, 8.0, 1) for n in range(1, 10)),
    ]
    ingest(data, written(tmp_path / "o.dbn", "mbo", records))
    summary = run_folder(settings_on(data))
    assert summary.dead == ()
    crossed = [row for row in rows(data, "coverage") if row["event"] == "crossed"]
    assert len(crossed) == 40
    assert {(row["symbol"], row["reason"]) for row in crossed} == {(MARKET, "best bid not below best ask")}
    features = rows(data, "orderbook/hf")
    assert features
    assert min(row["capture_ns"] for row in features) >= T0 + open_at
    assert {row["mid_price"] for row in features} == {9.5}
    bars = rows(data, "orderbook/bars")
    assert bars
    assert all(row["low"] == row["high"] == 9.5 for row in bars)
    assert len(rows(data, "orderbook/books")) == 50


def test_a_book_that_was_never_whole_is_a_gap_that_nothing_ends(tmp_path, data):
    (done,) = ingest(data, written(tmp_path / "o.dbn", "mbo", [order(n, "A", "B", n, 1.0, 1) for n in (1, 2, 3)]))
    assert dict(done.updates) == {}
    assert sum(done.doubts.values()) == 4
    run_folder(settings_on(data))
    events = [(row["event"], row["to_ns"]) for row in rows(data, "coverage")]
    assert ("gap", None) in events
    assert not {event for event, _ in events} & {"resynced", "recovered"}


def test_a_file_lacks_nothing_before_its_first_record(tmp_path, data):
    quotes = written(tmp_path / "q.dbn", "mbp-1", [quote(1 * S, 1.0, 2.0), quote(3 * S, 1.5, 2.0)])
    trades = written(tmp_path / "t.dbn", "trades", [trade(1 * S, 2.0), trade(3 * S, 2.0)])
    ingest(data, quotes, trades)
    run_folder(settings_on(data))
    book, traded = take(Datasets.of(settings_on(data)), Asked())
    assert (book.holes(), traded.holes()) == ([], [])
    assert book.covered_ns == book.observed_ns >= 2 * S


def test_what_is_open_is_told_again_within_half_a_minute(tmp_path, data):
    orders = [order(1, "A", "B", 1, 1.0, 1)]
    trades = [order(n * 10 * S, "T", "B", 0, 1.0, 1) for n in range(1, 12)]
    ingest(data, written(tmp_path / "o.dbn", "mbo", [*orders, *trades]))
    told = [line for line in lines(data) if line["channel"] == "control" and line["data"]["event"] == "gap"]
    repeats = [line["capture_ns"] - T0 for line in told if line["data"]["repeat"]]
    assert repeats
    assert max(b - a for a, b in pairwise(repeats)) <= 40 * S


def test_a_market_whose_name_cannot_be_stored_is_refused(tmp_path, data):
    with pytest.raises(NameRefusedError, match="longer than 120 bytes"):
        ingest(data, written(tmp_path / "t.dbn", "trades", [trade(1, 1.0)], market="/" + "." * 60))
    assert standing(data) == []


def test_a_market_with_characters_of_paths_goes_the_whole_way(tmp_path, data):
    market = "ESZ3 C4500/../x"
    ingest(data, written(tmp_path / "t.dbn", "trades", [trade(1, 1.0)], market=market))
    run_folder(settings_on(data))
    assert [(row["market"], row["price"]) for row in rows(data, "trades")] == [(market, 1.0)]


def test_whoever_was_killed_between_two_segments_runs_it_again(tmp_path, data):
    path = written(tmp_path / "t.dbn", "trades", [trade(n * S, float(n)) for n in range(1, 41)])
    ingest(data, path, segment_bytes_max=4_000)
    before = lines(data)
    for gone in sorted((data / LANE).glob("*_00002.*")) + sorted((data / LANE).glob("*_00003.ndjson")):
        gone.unlink()
    (data / LANE / f"{gone.stem}.manifest.json").unlink()
    (done,) = ingest(data, path, segment_bytes_max=4_000)
    assert done.done_before == len(done.segments) - 2
    assert lines(data) == before


def test_what_is_in_parquet_and_deleted_does_not_come_back(tmp_path, data):
    path = written(tmp_path / "t.dbn", "trades", [trade(1, 1.0)])
    ingest(data, path)
    run_folder(settings_on(data), delete=True)
    assert lines(data) == []
    (done,) = ingest(data, path)
    assert (done.done_before, lines(data)) == (1, [])
    assert run_folder(settings_on(data)).processed == 0
    assert len(rows(data, "trades")) == 1
