"""Every finding, made by tampering with books that balanced."""

import hashlib
import shutil
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.domain.control import After, Event, FeedKey
from fluxforge.domain.lane import Lane
from fluxforge_cli.account.audit.boots import Boot, End
from fluxforge_cli.account.audit.close import close
from fluxforge_cli.account.audit.findings import Kind
from fluxforge_cli.account.audit.take import take
from fluxforge_etl_worker.dead import dead_mark, drop
from fluxforge_etl_worker.folder import run_folder
from fluxforge_etl_worker.main import worker_of
from tests.unit.fluxforge_cli.account.audit.world import (
    BEGIN_NS,
    LANE,
    SYMBOL,
    World,
    books,
    control,
    started,
    stopped,
    tickers,
    trades,
)

BOOK = FeedKey("orderbook", SYMBOL)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three segments of one boot that ended in order, in Parquet."""
    world = World(tmp_path)
    world.seal(started(), books(1, 10), trades(1, 3), tickers(1, 4))
    world.seal(books(11, 30), trades(4, 5), tickers(5, 6))
    world.seal(books(31, 40), stopped(2))
    world.forge()
    return world


def test_whole_books_balance(world: World) -> None:
    audit = world.audit(deep=True)
    assert audit.findings == ()
    (lane,) = audit.lanes
    assert (lane.captured, lane.sealed, lane.in_parquet) == (53, 53, 53)
    assert (lane.feeds, lane.segments, lane.boots) == (4, 3, (Boot("b1", End.CLOSED),))


def test_nothing_at_all_balances(tmp_path: Path) -> None:
    audit = World(tmp_path).audit()
    assert (audit.lanes, audit.findings) == ((), ())


def test_a_manifest_that_is_gone_is_named_with_its_seqs(world: World) -> None:
    second = world.manifests[1]
    world.manifest_path(second).unlink()
    found = world.findings()
    assert "missing b1 orderbook BTC-USDT 11-30" in found
    assert "missing b1 trades BTC-USDT 4-5" in found
    assert "missing b1 ticker BTC-USDT 5-6" in found
    assert world.kinds() == {Kind.MISSING, Kind.CHAIN, Kind.NOT_SEALED}


def test_the_first_manifest_that_is_gone_is_told_by_the_one_after(world: World) -> None:
    world.manifest_path(world.manifests[0]).unlink()
    assert "missing b1 orderbook BTC-USDT 1-10" in world.findings()
    assert Kind.CHAIN in world.kinds()


def test_the_last_manifest_that_is_gone_is_told_by_its_commit(world: World) -> None:
    world.manifest_path(world.manifests[2]).unlink()
    world.data_path(world.manifests[2]).unlink()
    found = world.findings()
    assert "missing b1 orderbook BTC-USDT 31-40" in found
    assert "not_sealed" in found


def test_a_part_that_is_gone_is_named_with_its_seqs(world: World) -> None:
    world.part("orderbook/books", world.manifests[1]).unlink()
    assert world.findings() == ["part_missing", "missing b1 orderbook BTC-USDT 11-30"]


def test_a_part_of_trades_that_is_gone_is_named_with_its_seqs(world: World) -> None:
    world.part("trades", world.manifests[0]).unlink()
    assert world.findings() == ["part_missing", "missing b1 trades BTC-USDT 1-3"]


def test_a_part_of_features_that_is_gone_is_found(world: World) -> None:
    world.part("orderbook/hf", world.manifests[0]).unlink()
    assert world.findings() == ["part_missing"]


def test_a_copy_of_a_part_is_unknown(world: World) -> None:
    part = world.part("ticker", world.manifests[0])
    shutil.copy(part, part.with_name("copy.parquet"))
    (finding,) = world.audit().findings
    assert finding.kind is Kind.PART_UNKNOWN
    assert "copy.parquet" in finding.detail


def test_a_flipped_byte_of_a_part_is_found_deep(world: World) -> None:
    part = world.part("orderbook/hf", world.manifests[0])
    body = bytearray(part.read_bytes())
    body[len(body) // 4] ^= 1
    part.write_bytes(body)
    assert world.kinds() <= {Kind.PART_DIFFERS}  # quick: only if the footer is hit
    assert world.kinds(deep=True) == {Kind.PART_DIFFERS}


def test_a_part_that_is_cut_off_differs_and_its_seqs_are_missing(world: World) -> None:
    part = world.part("orderbook/books", world.manifests[0])
    part.write_bytes(part.read_bytes()[:-20])
    assert world.findings() == ["part_differs", "missing b1 orderbook BTC-USDT 1-10"]


def test_rows_that_are_gone_from_a_part_are_named(world: World) -> None:
    part = world.part("orderbook/books", world.manifests[1])
    table = pq.ParquetFile(part).read()
    pq.write_table(table.slice(0, 15), part)
    assert world.findings() == ["part_differs", "rows_differ", "missing b1 orderbook BTC-USDT 26-30"]


def test_rows_that_stand_twice_are_doubled(world: World) -> None:
    part = world.part("trades", world.manifests[0])
    table = pq.ParquetFile(part).read()
    pq.write_table(pa.concat_tables([table, table.slice(2, 1)]), part)
    assert set(world.findings()) == {"part_differs", "rows_differ", "doubled b1 trades BTC-USDT 2-2"}


def test_rows_of_elsewhere_are_unknown(world: World) -> None:
    first, second = (world.part("ticker", manifest) for manifest in world.manifests[:2])
    shutil.copy(second, first)
    found = world.findings()
    assert "unknown b1 ticker BTC-USDT 5-6" in found
    assert "missing b1 ticker BTC-USDT 1-4" in found


def test_a_segment_sealed_twice_is_doubled(world: World) -> None:
    second = world.manifests[1]
    world.seal(books(21, 32))
    assert "doubled b1 orderbook BTC-USDT 21-32" in world.findings()
    assert second.name == "segment_20261118T12_00002"


def test_a_commit_that_is_gone_leaves_its_parts_unknown(world: World) -> None:
    world.commit_path(world.manifests[1]).unlink()
    assert world.kinds() == {Kind.UNPROCESSED, Kind.PART_UNKNOWN}
    assert world.audit().lanes[0].unprocessed == 24


def test_a_commit_of_other_bytes_differs(world: World) -> None:
    path = world.commit_path(world.manifests[0])
    commit = orjson.loads(path.read_bytes())
    commit["identity"]["sha256"] = "00"
    path.write_bytes(orjson.dumps(commit))
    assert world.kinds() == {Kind.COMMIT_DIFFERS}


def test_a_commit_that_tells_of_fewer_records_is_found(world: World) -> None:
    path = world.commit_path(world.manifests[1])
    commit = orjson.loads(path.read_bytes())
    for feed in commit["feeds"]:
        if feed["channel"] == "orderbook":
            feed["ranges"] = [[11, 20]]
    path.write_bytes(orjson.dumps(commit))
    found = world.findings()
    assert "missing b1 orderbook BTC-USDT 21-30" in found
    assert "unknown b1 orderbook BTC-USDT 21-30" in found


@pytest.mark.parametrize("kind", ["manifest", "commit"])
def test_what_cannot_be_read_is_a_finding(world: World, kind: str) -> None:
    path = (world.manifest_path if kind == "manifest" else world.commit_path)(world.manifests[1])
    path.write_bytes(b"{")
    assert Kind.UNREADABLE in world.kinds()
    assert not world.audit().balanced


def test_a_segment_that_waits_is_unprocessed(world: World) -> None:
    world.seal(started("b2"))
    audit = world.audit()
    assert [one.kind for one in audit.findings] == [Kind.UNPROCESSED]
    assert audit.lanes[0].boots == (Boot("b1", End.CLOSED), Boot("b2", End.RUNNING))


def test_a_segment_that_is_committed_and_not_placed_is_unprocessed(world: World) -> None:
    world.commit_path(world.manifests[0]).with_suffix(".placed").unlink()
    assert world.findings() == ["unprocessed"]


def test_data_deleted_after_processing_is_no_finding(world: World) -> None:
    for manifest in world.manifests:
        world.data_path(manifest).unlink()
    assert world.findings(deep=True) == []


def test_data_that_is_gone_before_it_was_processed_is_not_stored(world: World) -> None:
    gone = world.seal(books(41, 50))
    world.seal(books(51, 60))
    world.data_path(gone).unlink()
    assert world.findings() == ["not_stored", "unprocessed"]


def test_the_newest_manifest_may_be_ahead_of_its_data(world: World) -> None:
    world.data_path(world.seal(books(41, 50))).unlink()
    assert world.findings() == []
    assert world.audit().lanes[0].unprocessed == 10


def test_a_dead_segment_is_a_finding_until_a_person_gives_it_up(world: World) -> None:
    bad = world.seal(books(41, 50))
    worker = worker_of(world.settings)
    worker.mark_dead(LANE, bad.name, ValueError("broken"))
    assert world.findings() == ["dead"]
    assert world.audit().lanes[0].dead == 10
    drop(worker, dead_mark(worker, LANE, bad.name))
    audit = world.audit()
    assert audit.findings == ()
    assert (audit.lanes[0].dead, audit.lanes[0].given_up) == (0, 10)


def test_a_flipped_byte_of_a_segment_is_found_deep(world: World) -> None:
    path = world.data_path(world.manifests[0])
    body = bytearray(path.read_bytes())
    body[30] ^= 1
    path.write_bytes(body)
    assert world.findings() == []
    assert world.findings(deep=True) == ["bytes_differ"]


def test_a_segment_of_another_size_is_found_at_once(world: World) -> None:
    path = world.data_path(world.manifests[0])
    path.write_bytes(path.read_bytes()[:-1])
    assert world.findings() == ["bytes_differ"]


def test_a_stream_range_in_no_manifest_breaks_the_chain(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.seal(started(), books(1, 10))
    second = world.seal(books(11, 20))
    world.write_manifest(second, first=second.first + 2, last=second.last + 2)
    world.forge()
    (finding,) = world.audit().findings
    assert finding.kind is Kind.CHAIN
    assert "stream 3-4 of epoch 1" in finding.detail


def test_dropped_seqs_are_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    dropped = control(
        2, Event.DROPPED, scope=BOOK, hole="b1:1", count=5, detail={"first_seq": 11, "last_seq": 15}, from_ns=BEGIN_NS
    )
    again = control(3, Event.DROPPED, scope=BOOK, hole="b1:1", repeat=True)
    world.seal(started(), books(1, 10), dropped, books(16, 20), again)
    assert world.findings() == ["unprocessed"]
    world.forge()
    assert world.findings() == []
    assert world.audit().lanes[0].named == 5
    for manifest in world.manifests:
        world.data_path(manifest).unlink()
    assert world.findings() == []


def test_a_dropped_record_names_what_it_names_and_no_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    detail: dict[str, str | int | None] = {"first_seq": 11, "last_seq": 14}
    dropped = control(2, Event.DROPPED, scope=BOOK, hole="b1:1", detail=detail)
    world.seal(started(), books(1, 10), dropped, books(16, 20))
    world.forge()
    assert world.findings() == ["missing b1 orderbook BTC-USDT 15-15"]


def test_a_rejected_record_between_two_of_its_block_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    rejected = control(2, Event.REJECTED, scope=BOOK, hole="b1:1", count=1, detail={"seq": 6})
    manifest = world.seal(started(), books(1, 5), rejected, books(7, 10))
    wide = [
        {"channel": one.channel, "symbol": one.symbol, "boot": one.boot, "ranges": [[1, 10]], "count": 9}
        if one.channel == "orderbook"
        else {"channel": one.channel, "symbol": one.symbol, "boot": one.boot, "ranges": one.ranges, "count": one.count}
        for one in manifest.feeds
    ]
    text = orjson.loads(manifest.to_json())
    world.manifest_path(manifest).write_bytes(orjson.dumps({**text, "feeds": wide}))
    world.forge()
    audit = world.audit()
    assert audit.findings == ()
    assert (audit.lanes[0].named, audit.lanes[0].sealed) == (1, 11)


def test_a_hole_of_the_stream_names_what_is_missing_around_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.seal(started(), books(1, 10))
    world.seal(books(14, 20), holes=((4, 4),), count=3)
    world.seal(books(21, 30))
    world.seal(books(33, 40))
    world.forge()
    audit = world.audit()
    assert [(one.kind, one.first, one.last) for one in audit.findings] == [(Kind.MISSING, 31, 32)]
    (lane,) = audit.lanes
    assert lane.lost == 3
    assert [(hole.kind, hole.first, hole.last) for hole in lane.holes] == [("lost", 4, 4)]


def test_a_boot_that_ended_without_a_word_leaves_a_hole_bounded_by_times(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.seal(started(), books(1, 10))
    second = world.seal(started("b2", after=After("b1", 1, first.last_capture_ns)), books(1, 5, "b2"))
    for _ in range(2):
        (lane,) = world.audit().lanes
        assert lane.boots == (Boot("b1", End.CRASHED), Boot("b2", End.RUNNING))
        (hole,) = lane.holes
        bounds = (first.last_capture_ns, second.first_capture_ns)
        assert (hole.kind, hole.boot, (hole.from_ns, hole.to_ns)) == ("crash", "b1", bounds)
        world.forge()
        world.data_path(second).unlink(missing_ok=True)
    assert world.findings() == []


def test_a_boot_that_went_on_in_a_rescue_lane_is_counted_with_its_lane(tmp_path: Path) -> None:
    world = World(tmp_path)
    rescue = Lane("ccxt", "binance", "0of1rb1")
    world.seal(started(), books(1, 10))
    world.seal(books(11, 15), lane=rescue)
    world.seal(started("b2"), books(1, 5, "b2"))
    world.forge()
    audit = world.audit()
    assert audit.findings == ()
    (lane,) = audit.lanes
    assert (lane.lane, lane.rescue, lane.captured) == (str(LANE), (str(rescue),), 22)


def test_one_lane_alone_is_audited(world: World) -> None:
    other = Lane("ccxt", "kraken", "0of1")
    manifest = world.seal(started("k1"), books(1, 4, "k1"), lane=other)
    world.forge()
    world.part("orderbook/books", manifest).unlink()
    assert world.audit(LANE).findings == ()
    assert [one.lane for one in world.audit(other).findings] == [str(other)] * 2


def test_bad_lines_are_in_quarantine(tmp_path: Path) -> None:
    world = World(tmp_path)
    manifest = world.seal(started(), books(1, 10), trades(1, 2))
    path = world.data_path(manifest)
    body = path.read_bytes().replace(b'"bids":[[10.0,1.0]]', b'"bids":[[10.0,"a"]]', 1)
    path.write_bytes(body)
    world.write_manifest(manifest, sha256=hashlib.sha256(body).hexdigest(), size_bytes=len(body))
    world.forge()
    audit = world.audit()
    assert audit.findings == ()
    assert (audit.lanes[0].quarantined, audit.lanes[0].in_parquet) == (1, 12)


def test_records_with_an_empty_list_make_no_row_and_are_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.seal(started(), trades(1, 3), trades(4, 6, each=0), trades(7, 7))
    world.forge()
    audit = world.audit()
    assert audit.findings == ()
    assert (audit.lanes[0].rowless, audit.lanes[0].in_parquet) == (3, 8)


def test_a_channel_that_is_off_is_named_as_off(tmp_path: Path) -> None:
    world = World(tmp_path, etl={"channels": {"ticker": {"enabled": False}, "orderbook": {"keep_books": False}}})
    world.seal(started(), books(1, 10), tickers(1, 4))
    world.forge()
    audit = world.audit()
    assert audit.findings == ()
    assert (audit.lanes[0].off, audit.lanes[0].in_parquet) == (14, 1)


def test_files_of_other_recorders_are_counted_by_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder = tmp_path / "raw/ready" / LANE.folder
    folder.mkdir(parents=True)
    for number, name in enumerate(("a", "b")):
        lines = [
            {"exchange": "binance", "channel": "ticker", "market": "BTC/USDT", "capture_ns": at, "data": {"last": 1.0}}
            for at in range(BEGIN_NS + number * 100, BEGIN_NS + number * 100 + 5)
        ]
        (folder / f"{name}.ndjson").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert world.findings() == ["not_sealed", "not_sealed"]
    world.forge()
    audit = world.audit(deep=True)
    assert audit.findings == ()
    assert (audit.lanes[0].captured, audit.lanes[0].in_parquet) == (10, 10)
    next((tmp_path / "processed/ccxt/ticker").rglob("*_b.parquet")).unlink()
    assert world.findings() == ["part_missing", "missing file ticker BTC-USDT 1-5"]


def test_a_recomputation_is_audited_by_its_own_commits(world: World) -> None:
    settings = world.settings
    paths = settings.storage.paths.model_copy(update={"processed_dir": "again"})
    storage = settings.storage.model_copy(update={"paths": paths})
    settings = settings.model_copy(update={"storage": storage})
    assert not run_folder(settings, force=True).dead
    assert close(take(settings)).findings == ()
    next((world.base / "again").rglob("*.parquet")).unlink()
    assert Kind.PART_MISSING in {one.kind for one in close(take(settings)).findings}
    assert world.findings() == []


def test_a_loss_without_seqs_excuses_what_is_missing_around_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    lost = control(2, Event.DROPPED, hole="b1:2", feeds=(BOOK,), reason="bus_lost", detail={"first_seq": None})
    world.seal(started(), books(1, 10))
    world.seal(lost, books(15, 20))
    world.forge()
    audit = world.audit()
    assert audit.findings == ()
    assert audit.lanes[0].lost == 4


def test_a_hole_that_is_only_told_again_excuses_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    named = control(2, Event.DROPPED, hole="b1:2", scope=BOOK, detail={"first_seq": 11, "last_seq": 12})
    again = control(3, Event.DROPPED, hole="b1:2", feeds=(BOOK,), repeat=True)
    world.seal(started(), books(1, 10), named)
    world.seal(again, books(15, 20))
    world.forge()
    assert world.findings() == ["missing b1 orderbook BTC-USDT 13-14"]


def test_what_is_named_as_lost_and_is_sealed_all_the_same_is_sealed(tmp_path: Path) -> None:
    world = World(tmp_path)
    named = control(2, Event.DROPPED, hole="b1:2", scope=BOOK, detail={"first_seq": 9, "last_seq": 12})
    world.seal(started(), books(1, 10), named, books(13, 14))
    world.forge()
    audit = world.audit()
    assert audit.findings == ()
    (lane,) = audit.lanes
    assert (lane.captured, lane.sealed, lane.named) == (16, 14, 2)


def test_findings_of_other_lanes_are_left_out(world: World) -> None:
    world.manifest_path(world.manifests[1]).write_bytes(b"{")
    assert world.audit(Lane("ccxt", "kraken", "0of1")).findings == ()


def test_a_segment_of_no_records_is_sound(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.seal(started(), books(1, 10))
    empty = world.seal(holes=((3, 4),))
    world.write_manifest(empty, first_capture_ns=world.now_ns, last_capture_ns=world.now_ns)
    world.seal(books(14, 20))
    world.forge()
    audit = world.audit(deep=True)
    assert audit.findings == ()
    assert audit.lanes[0].lost == 3
