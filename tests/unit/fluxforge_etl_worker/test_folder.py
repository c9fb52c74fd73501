import os
import signal
from dataclasses import replace
from pathlib import Path

import duckdb
import orjson
import pytest
import zstandard
from typing_extensions import override

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import ConfigurationError, NameRefusedError, PartitionSchemaError
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest, PreviousSegment
from fluxforge.runtime.settings import Settings
from fluxforge_etl_worker.adopt import adopt
from fluxforge_etl_worker.folder import DeadSegment, _results, run_folder
from fluxforge_etl_worker.work import Outcome, Worker
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    OPTIONS,
    T0,
    Recording,
    S,
    manifest_of,
    stored,
    trade,
)
from tests.unit.fluxforge_etl_worker.test_work import a_recording

DAY = 86_400 * S


def settings_on(folder: Path, **etl: object) -> Settings:
    here = {"base_dir": folder}
    storage = {"scratch_dir": folder, "ingestion_storage": here, "etl_storage_input": here, "etl_storage_output": here}
    return Settings.model_validate({"storage": storage, "etl": etl})


def put(folder: Path, name: str, body: bytes, lane: str = "ccxt/binance-0of1") -> Path:
    path = folder / "raw/ready" / lane / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def tickers(at: int, count: int = 3) -> bytes:
    recording = Recording()
    for n in range(count):
        recording.ticker(at + n * S, last=float(n))
    return recording.body


def test_a_folder_of_plain_files_is_adopted_and_processed_once(tmp_path):
    body = a_recording().body
    put(tmp_path, "morning.ndjson", body)
    put(tmp_path, "noon.ndjson.zst", zstandard.compress(tickers(T0 + 100 * S)))
    first = run_folder(settings_on(tmp_path))
    assert (first.segments, first.processed, first.done_before, first.dead) == (2, 2, 0, ())
    assert first.records == body.count(b"\n") + 3
    assert first.rows["ticker"] == 39 + 3
    manifest = Manifest.from_json((tmp_path / "raw/ready/ccxt/binance-0of1/noon.manifest.json").read_bytes())
    assert manifest.previous is not None
    assert manifest.previous.name == "morning"
    assert manifest.records == 3
    assert manifest.first_capture_ns == T0 + 100 * S
    again = run_folder(settings_on(tmp_path))
    assert (again.processed, again.done_before, again.rows) == (0, 2, {})
    assert "processed 0, done before 2" in str(again)


def test_a_day_takes_the_segments_in_which_something_of_that_day_ends(tmp_path):
    for name, at in (("a", T0), ("b", T0 + DAY), ("c", T0 + 2 * DAY), ("d", T0 + 3 * DAY)):
        put(tmp_path, f"{name}.ndjson", tickers(at))
    summary = run_folder(settings_on(tmp_path), mode="date", date="2023-11-15")
    # c holds no record of the day, but what was still open at the end of b ends in it
    assert (summary.segments, summary.processed) == (2, 2)
    again = run_folder(settings_on(tmp_path), mode="date", date="2023-11-15")
    assert (again.processed, again.done_before) == (0, 2)
    assert run_folder(settings_on(tmp_path)).processed == 2


def test_a_source_is_taken_alone(tmp_path):
    put(tmp_path, "a.ndjson", tickers(T0))
    put(tmp_path, "a.ndjson", tickers(T0).replace(b'"ccxt"', b'"own"'), "own/binance-0of1")
    assert run_folder(settings_on(tmp_path), source="own").rows == {"ticker": 3}
    assert not (tmp_path / "processed/ccxt").exists()


@pytest.mark.parametrize("date", [None, "yesterday", "2026-13-01"])
def test_a_day_that_is_none_is_refused(tmp_path, date):
    with pytest.raises(ConfigurationError, match="2026-11-22"):
        run_folder(settings_on(tmp_path), mode="date", date=date)


@pytest.mark.parametrize("folder", ["ccxt/binance", "ccxt/binance-x", "CCXT/binance-0of1"])
def test_a_folder_that_is_no_lane_is_named(tmp_path, folder):
    put(tmp_path, "a.ndjson", tickers(T0), folder)
    with pytest.raises(NameRefusedError):
        run_folder(settings_on(tmp_path))


def test_a_segment_that_cannot_be_processed_is_marked_and_blocks_nothing(tmp_path):
    store = LocalStore(tmp_path, sync=False)
    body = tickers(T0)
    stored(store, body[:-5], manifest_of(body, name="segment_20231114T22_00001"))
    put(tmp_path, "segment_20231114T22_00002.ndjson", tickers(T0 + 50 * S))
    put(tmp_path, "segment_20231114T22_00003.ndjson.zst", b"this is not zstd")
    summary = run_folder(settings_on(tmp_path))
    assert (summary.segments, summary.processed, len(summary.dead)) == (3, 1, 2)
    assert "dead: ccxt-binance-0of1 segment_20231114T22_00001" in str(summary)
    mark = orjson.loads((tmp_path / "dead" / str(LANE) / "segment_20231114T22_00001.json").read_bytes())
    assert mark["error"] == "SegmentCorruptError"
    assert (tmp_path / "raw/ready/ccxt/binance-0of1/segment_20231114T22_00001.ndjson").exists()


def test_bad_lines_stand_in_quarantine_with_their_offsets_and_every_other_line_is_a_row(tmp_path):
    good = tickers(T0, count=40).splitlines(keepends=True)
    bad = {
        "not UTF-8": good[0].replace(b"BTC", b"\xff\xfe"),
        "NaN": good[0].replace(b'"last":0.0', b'"last":NaN'),
        "over-long": good[0].replace(b'"last":0.0', b'"last":0.0,"pad":"' + b"x" * 8_400_000 + b'"'),
        "unknown v": good[0].replace(b'"v":1', b'"v":7'),
    }
    torn = good[0][:-30]
    lines = [
        *good[:10],
        bad["not UTF-8"],
        *good[10:20],
        bad["NaN"],
        bad["over-long"],
        *good[20:],
        bad["unknown v"],
        torn,
    ]
    put(tmp_path, "mixed.ndjson", b"".join(lines))
    summary = run_folder(settings_on(tmp_path))
    assert (summary.processed, summary.records, summary.quarantined, summary.dead) == (1, len(good) + 5, 5, ())
    quarantined = (tmp_path / "quarantine" / str(LANE) / "mixed.ndjson").read_bytes().splitlines()
    offsets = [sum(map(len, lines[:n])) for n in (10, 21, 22, 43, 44)]
    assert [orjson.loads(line)["offset"] for line in quarantined] == offsets
    assert all(orjson.loads(line)["reason"] for line in quarantined)
    glob = f"{tmp_path}/processed/ccxt/ticker/**/*.parquet"
    rows = duckdb.sql(f"SELECT seq, last FROM '{glob}' ORDER BY seq").fetchall()
    assert rows == [(n + 1, float(n)) for n in range(40)]


def sealed_and_adopted(folder: Path) -> None:
    body = tickers(T0)
    stored(LocalStore(folder, sync=False), body, manifest_of(body, name="a", last=T0 + 2 * S))
    put(folder, "b.ndjson", tickers(T0 + 50 * S))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "raw/ready/ccxt/binance-0of1").iterdir())


def test_what_was_sealed_is_deleted_once_it_is_in_parquet_and_what_a_person_put_there_stays(tmp_path):
    sealed_and_adopted(tmp_path)
    first = run_folder(settings_on(tmp_path))
    assert files(tmp_path) == ["a.manifest.json", "b.manifest.json", "b.ndjson"]
    assert first.upkeep["raw_deleted"] == 1
    again = run_folder(settings_on(tmp_path))
    assert (again.segments, again.done_before, again.dead) == (2, 2, ())
    assert files(tmp_path) == ["a.manifest.json", "b.manifest.json", "b.ndjson"]


def test_nothing_is_deleted_where_the_configuration_says_so(tmp_path):
    sealed_and_adopted(tmp_path)
    run_folder(settings_on(tmp_path, delete_after_processing=False))
    assert files(tmp_path) == ["a.manifest.json", "a.ndjson", "b.manifest.json", "b.ndjson"]


def test_told_to_delete_a_run_deletes_adopted_files_too_even_those_done_before(tmp_path):
    sealed_and_adopted(tmp_path)
    run_folder(settings_on(tmp_path, delete_after_processing=False))
    summary = run_folder(settings_on(tmp_path, delete_after_processing=False), delete=True)
    assert (summary.done_before, summary.upkeep["raw_deleted"]) == (2, 2)
    assert files(tmp_path) == ["a.manifest.json", "b.manifest.json"]


@pytest.mark.parametrize(("drop", "left"), [(False, ["a.manifest.json", "a.ndjson"]), (True, ["a.manifest.json"])])
def test_records_of_a_disabled_channel_stay_unless_they_may_be_dropped(tmp_path, drop, left):
    body = tickers(T0)
    stored(LocalStore(tmp_path, sync=False), body, manifest_of(body, name="a", last=T0 + 2 * S))
    channels = {"ticker": {"enabled": False}}
    run_folder(settings_on(tmp_path, channels=channels, drop_disabled=drop))
    assert files(tmp_path) == left


def test_a_file_put_after_one_whose_data_was_deleted_goes_on_from_it(tmp_path):
    put(tmp_path, "a.ndjson", tickers(T0))
    run_folder(settings_on(tmp_path), delete=True)
    other = Recording()
    other.trades(T0 + 50 * S, trade("1", "buy", 1.0, 1.0))
    put(tmp_path, "b.ndjson", other.body)
    run_folder(settings_on(tmp_path))
    manifest = Manifest.from_json((tmp_path / "raw/ready/ccxt/binance-0of1/b.manifest.json").read_bytes())
    assert manifest.previous is not None
    assert manifest.previous.name == "a"
    # cumulative over the lane: the ticker was last seen in the segment before
    assert [(last.channel, last.seq) for last in manifest.last_seqs] == [("ticker", 3), ("trades", 1)]


def test_data_that_is_gone_before_anything_was_committed_is_named(tmp_path):
    sealed_and_adopted(tmp_path)
    (tmp_path / "raw/ready/ccxt/binance-0of1/a.ndjson").unlink()
    summary = run_folder(settings_on(tmp_path))
    (dead,) = summary.dead
    assert (dead.segment, summary.processed) == ("a", 1)
    assert "its data is gone" in dead.reason
    mark = orjson.loads((tmp_path / "dead" / str(LANE) / "a.json").read_bytes())
    assert mark["error"] == "SegmentLostError"


def test_a_manifest_whose_data_is_on_its_way_is_left_alone(tmp_path):
    body = tickers(T0)
    store = LocalStore(tmp_path, sync=False)
    store.create("raw/ready/ccxt/binance-0of1/a.manifest.json", manifest_of(body, name="a").to_json())
    assert run_folder(settings_on(tmp_path)).segments == 0
    assert not (tmp_path / "dead").exists()


def elsewhere(settings: Settings, processed_dir: str) -> Settings:
    storage = settings.storage.model_copy(
        update={"paths": settings.storage.paths.model_copy(update={"processed_dir": processed_dir})}
    )
    return settings.model_copy(update={"storage": storage})


def standing(folder: Path, *parts: str) -> dict[str, bytes]:
    roots = [folder / part for part in parts]
    return {
        str(path.relative_to(root)): path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()
    }


def test_a_forced_run_recomputes_everything_into_another_directory_and_leaves_what_stands(tmp_path):
    sealed_and_adopted(tmp_path)
    settings = settings_on(tmp_path, delete_after_processing=False)
    first = run_folder(settings)
    before = standing(tmp_path, "processed", "commits", "raw", "tails")
    forced = run_folder(elsewhere(settings, "processed_2"), force=True)
    assert (forced.processed, forced.rows) == (2, first.rows)
    assert standing(tmp_path, "processed", "commits", "raw", "tails") == before
    assert set(standing(tmp_path, "processed_2")) == set(standing(tmp_path, "processed"))
    again = run_folder(elsewhere(settings, "processed_2"), force=True)
    assert (again.processed, again.done_before) == (0, 2)
    assert not [path for path in (tmp_path / ".tmp").rglob("*") if path.is_file()]


def test_a_forced_run_in_place_is_refused_and_says_what_to_do(tmp_path):
    sealed_and_adopted(tmp_path)
    settings = settings_on(tmp_path, delete_after_processing=False)
    run_folder(settings)
    before = standing(tmp_path, "processed", "commits")
    with pytest.raises(ConfigurationError, match=r"FLUXFORGE__STORAGE__PATHS__PROCESSED_DIR=processed_"):
        run_folder(settings, force=True)
    assert standing(tmp_path, "processed", "commits") == before


def test_a_forced_run_names_what_it_cannot_recompute_and_marks_nothing_dead(tmp_path):
    sealed_and_adopted(tmp_path)
    settings = settings_on(tmp_path)
    run_folder(settings)
    forced = run_folder(elsewhere(settings, "processed_2"), force=True)
    assert forced.processed == 1
    (dead,) = forced.dead
    assert (dead.segment, "deleted after processing" in dead.reason) == ("a", True)
    assert not list(tmp_path.rglob("dead"))


def test_a_forced_run_deletes_no_data(tmp_path):
    sealed_and_adopted(tmp_path)
    run_folder(settings_on(tmp_path, delete_after_processing=False))
    run_folder(elsewhere(settings_on(tmp_path), "processed_2"), force=True)
    assert files(tmp_path) == ["a.manifest.json", "a.ndjson", "b.manifest.json", "b.ndjson"]


def test_what_a_forced_run_made_is_taken_over_by_a_run_that_finds_it_in_its_place(tmp_path):
    sealed_and_adopted(tmp_path)
    settings = settings_on(tmp_path, delete_after_processing=False)
    assert run_folder(settings, force=True).processed == 2  # nothing was committed before
    before = standing(tmp_path, "processed")
    later = run_folder(settings)
    assert (later.processed, later.done_before) == (0, 2)
    assert standing(tmp_path, "processed") == before
    assert len(list((tmp_path / "commits" / str(LANE)).glob("*.placed"))) == 2
    assert run_folder(settings, force=True).done_before == 2


def test_an_empty_folder_is_nothing_to_do(tmp_path):
    assert run_folder(settings_on(tmp_path)).segments == 0


def test_an_empty_file_is_a_segment_without_records(tmp_path):
    put(tmp_path, "empty.ndjson", b"")
    put(tmp_path, "later.ndjson", tickers(T0))
    summary = run_folder(settings_on(tmp_path))
    assert (summary.processed, summary.records, summary.dead) == (2, 3, ())


def test_a_file_without_records_does_not_part_those_around_it(tmp_path):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    for folder in (whole, parted):
        for name, second in (("a", 0), ("c", 3)):
            recording = Recording()
            for half in range(6):
                recording.book(T0 + second * S + half * S // 2 + 1, [[100 + half, 1]], [[110, 1]])
            put(folder, f"{name}.ndjson", recording.body)
    put(parted, "b.ndjson", b"no record\n")
    made = [run_folder(settings_on(folder)) for folder in (whole, parted)]
    assert made[0].rows["orderbook/bars"] > 3
    assert made[1].rows == made[0].rows
    manifest = Manifest.from_json((parted / "raw/ready/ccxt/binance-0of1/b.manifest.json").read_bytes())
    assert (manifest.records, manifest.last_capture_ns) == (0, T0 + 5 * S // 2 + 1)


def books(at: int) -> bytes:
    recording = Recording()
    for n in range(4):
        recording.book(at + n * S + 1, BIDS, ASKS)
    return recording.body


def test_a_file_put_between_two_that_are_done_makes_no_row_of_the_one_before_it_again(tmp_path):
    for name, at_s in (("a", 0), ("d", 180)):
        put(tmp_path, f"{name}.ndjson", books(T0 + at_s * S))
    run_folder(settings_on(tmp_path))
    for name, at_s in (("b", 60), ("c", 120)):
        put(tmp_path, f"{name}.ndjson", books(T0 + at_s * S))
    assert run_folder(settings_on(tmp_path)).processed == 2
    manifests = [
        Manifest.from_json((tmp_path / f"raw/ready/ccxt/binance-0of1/{name}.manifest.json").read_bytes())
        for name in "abcd"
    ]
    assert [one.previous and one.previous.name for one in manifests] == [None, None, "b", "a"]
    glob = f"{tmp_path}/processed/ccxt/orderbook/bars/**/*.parquet"
    early = f"SELECT epoch_us(ts) AS at_us, duration FROM '{glob}' WHERE at_us < {(T0 + 60 * S) // 1000}"
    assert duckdb.sql(f"{early} GROUP BY ALL HAVING count(*) > 1").fetchall() == []
    assert len(duckdb.sql(early).fetchall()) > 4


def test_files_of_other_recorders_need_not_be_in_order(tmp_path):
    recording = Recording()
    for n in (3, 1, 2):
        recording.ticker(T0 + n * S, last=float(n))
    put(tmp_path, "mixed.ndjson", recording.body)
    assert run_folder(settings_on(tmp_path)).rows == {"ticker": 3}


@pytest.mark.slow
def test_several_processes_do_the_same_as_one(tmp_path):
    for folder in ("one", "two"):
        for n in range(4):
            put(tmp_path / folder, f"s{n}.ndjson", tickers(T0 + n * 100 * S))
    one = run_folder(settings_on(tmp_path / "one"))
    two = run_folder(settings_on(tmp_path / "two", workers=2))
    assert replace(two, upkeep=one.upkeep) == one  # who is quicker decides whether a tail is found or built
    files = {
        folder: sorted(
            (path.relative_to(tmp_path / folder), path.read_bytes())
            for path in (tmp_path / folder / "processed").rglob("*.parquet")
        )
        for folder in ("one", "two")
    }
    assert files["one"] == files["two"]


class Lethal(Worker):
    """Dies over the second segment."""

    @override
    def process(self, lane: Lane, segment: str) -> Outcome:
        if segment == "s1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().process(lane, segment)


@pytest.mark.slow
def test_a_segment_that_kills_a_process_of_the_run_is_told_apart_from_the_others(tmp_path):
    store = LocalStore(tmp_path, sync=False)
    previous = None
    manifests = []
    for n in range(3):
        body, last = tickers(T0 + n * 100 * S), T0 + (n * 100 + 2) * S
        manifest = manifest_of(body, name=f"s{n}", first=T0 + n * 100 * S, last=last, previous=previous)
        manifests.append(stored(store, body, manifest))
        previous = PreviousSegment(manifest.name, 1, last)
    results = list(_results(Lethal(store, store, OPTIONS, SystemClock()), manifests, 2))
    assert [(result.segment, isinstance(result, DeadSegment)) for result in results] == [
        ("s0", False),
        ("s1", True),
        ("s2", False),
    ]
    assert orjson.loads((tmp_path / "dead" / str(LANE) / "s1.json").read_bytes())["error"] == "DiedAloneError"
    assert (tmp_path / "tails" / str(LANE) / "s1.tail.dead").exists()


class Failing(Worker):
    """Meets what nobody foresaw in the first segment."""

    @override
    def process(self, lane: Lane, segment: str) -> Outcome:
        if segment == "a":
            raise ZeroDivisionError("oh")
        return super().process(lane, segment)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_nobody_foresaw_condemns_its_segment_and_the_others_are_done(tmp_path, processes):
    store = LocalStore(tmp_path, sync=False)
    manifests = []
    for n, name in enumerate("abc"):
        body = tickers(T0 + n * 100 * S)
        manifests.append(stored(store, body, manifest_of(body, name=name, first=T0 + n * 100 * S)))
    failing = Failing(store, store, OPTIONS, SystemClock())
    dead, *others = _results(failing, manifests, processes)
    assert isinstance(dead, DeadSegment)
    assert (dead.segment, "ZeroDivisionError: oh" in dead.reason) == ("a", True)
    assert [(type(other), other.segment) for other in others] == [(Outcome, "b"), (Outcome, "c")]
    assert orjson.loads((tmp_path / "dead" / str(LANE) / "a.json").read_bytes())["error"] == "DiedAloneError"


def test_a_file_that_cannot_be_adopted_for_a_reason_nobody_foresaw_blocks_nothing(tmp_path, monkeypatch):
    def failing(raw, layout, lane, file, *more):
        if file == "a.ndjson":
            raise ZeroDivisionError("oh")
        return adopt(raw, layout, lane, file, *more)

    monkeypatch.setattr("fluxforge_etl_worker.folder.adopt", failing)
    for n, name in enumerate("abc"):
        put(tmp_path, f"{name}.ndjson", tickers(T0 + n * 100 * S))
    summary = run_folder(settings_on(tmp_path))
    assert (summary.processed, [dead.segment for dead in summary.dead]) == (2, ["a"])
    assert "a.ndjson: ZeroDivisionError: oh" in summary.dead[0].reason


@pytest.mark.parametrize("workers", [1, 2])
def test_options_that_would_break_a_partition_end_the_run_and_condemn_no_segment(tmp_path, workers):
    put(tmp_path, "a.ndjson", a_recording().body)
    before = run_folder(settings_on(tmp_path))
    for name, after_s in (("b", 500), ("c", 600)):
        later = Recording()
        for n in range(3):
            later.book(T0 + (after_s + n) * S, BIDS, ASKS)
        put(tmp_path, f"{name}.ndjson", later.body)
    book = {"processor_options": {"horizons": [1, 2]}}
    with pytest.raises(PartitionSchemaError, match=r"log_return_2s.*Set back the option"):
        run_folder(settings_on(tmp_path, workers=workers, channels={"orderbook": book}))
    assert not list(tmp_path.glob("dead/**/*.json"))
    after = run_folder(settings_on(tmp_path, workers=workers))
    assert (after.processed, after.done_before, after.dead) == (2, before.processed, ())
