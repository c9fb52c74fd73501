from pathlib import Path

import duckdb
import orjson
import pytest
import zstandard

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.segment import Manifest
from fluxforge.runtime.settings import Settings
from fluxforge_etl_worker.folder import run_folder
from tests.unit.fluxforge_etl_worker.samples import LANE, T0, Recording, S, manifest_of, stored
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


def test_a_day_takes_the_segments_with_records_of_that_day(tmp_path):
    for name, at in (("a", T0), ("b", T0 + DAY), ("c", T0 + 2 * DAY)):
        put(tmp_path, f"{name}.ndjson", tickers(at))
    summary = run_folder(settings_on(tmp_path), mode="date", date="2023-11-15")
    assert (summary.segments, summary.processed) == (1, 1)
    dates = {path.name for path in (tmp_path / "processed/ccxt/ticker").rglob("date=*")}
    assert dates == {"date=2023-11-15"}
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


def test_an_empty_folder_is_nothing_to_do(tmp_path):
    assert run_folder(settings_on(tmp_path)).segments == 0


def test_an_empty_file_is_a_segment_without_records(tmp_path):
    put(tmp_path, "empty.ndjson", b"")
    put(tmp_path, "later.ndjson", tickers(T0))
    summary = run_folder(settings_on(tmp_path))
    assert (summary.processed, summary.records, summary.dead) == (2, 3, ())


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
    assert one == two
    files = {
        folder: sorted(
            (path.relative_to(tmp_path / folder), path.read_bytes())
            for path in (tmp_path / folder / "processed").rglob("*.parquet")
        )
        for folder in ("one", "two")
    }
    assert files["one"] == files["two"]
