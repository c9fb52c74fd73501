import gzip
from pathlib import Path

import pytest
import zstandard

from fluxforge.domain.errors import InputFileError
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge_collector.replay.segments import open_segments


def line(seq: int, exchange: str = "kraken") -> bytes:
    writer = RecordWriter(Feed("ccxt", exchange, "trades", "BTC/USD"), "b")
    return writer.line(conn=1, seq=seq, capture_ns=10**18 + seq, exchange_ms=None, data=b"[]")


def written(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def test_segments_are_read_in_the_order_of_their_records_plain_and_compressed(tmp_path: Path) -> None:
    later = written(tmp_path / "a.ndjson", line(3), line(4))
    earlier = written(tmp_path / "b.ndjson.zst", zstandard.compress(line(1)), zstandard.compress(line(2)))
    found = open_segments([later, earlier, later])
    assert (found.source, found.exchange) == ("ccxt", "kraken")
    assert [record.envelope.seq for record in found.records()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no segment: it is empty"),
        (b"ts,price\n1,2\n", r":1: no segment: no envelope before data; expected a record per line"),
        (gzip.compress(b"x" * 100), "no segment"),
        (b"\x28\xb5\x2f\xfdgarbage", "no segment: cannot be decompressed"),
    ],
    ids=["empty", "csv", "gzip", "torn-zstd"],
)
def test_what_is_no_segment_is_refused_by_name(tmp_path: Path, body: bytes, reason: str) -> None:
    path = written(tmp_path / "x", body)
    with pytest.raises(InputFileError, match=reason) as caught:
        open_segments([path])
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"gone: No such file"):
        open_segments([tmp_path / "gone"])


def test_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="Is a directory"):
        open_segments([tmp_path])


def test_a_segment_of_another_exchange_is_refused_by_name(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a", line(1)), written(tmp_path / "b", line(2, "okx"))
    with pytest.raises(InputFileError, match=r"b:1: of ccxt's okx, the others are of ccxt's kraken"):
        open_segments([one, other])


def test_a_record_of_another_exchange_within_a_segment_is_refused_where_it_stands(tmp_path: Path) -> None:
    found = open_segments([written(tmp_path / "a", line(1), line(2, "okx"))])
    with pytest.raises(InputFileError, match=r"a:2: of ccxt's okx"):
        list(found.records())


def test_segments_of_two_lanes_or_a_copy_are_refused_by_name(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a", line(1), line(3)), written(tmp_path / "b", line(2), line(4))
    records = open_segments([other, one]).records()
    assert [next(records).envelope.seq, next(records).envelope.seq] == [1, 3]
    with pytest.raises(InputFileError, match=r"b:1: captured before the end of .*/a: .*; replay them one at a time"):
        next(records)


def test_a_torn_line_is_refused_where_it_stands(tmp_path: Path) -> None:
    found = open_segments([written(tmp_path / "a", line(1), line(2)[:-2])])
    with pytest.raises(InputFileError, match=r"a:2: no segment: torn line"):
        list(found.records())
