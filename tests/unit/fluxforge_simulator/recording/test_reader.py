import gzip
from base64 import b64encode
from pathlib import Path

import orjson
import pytest
import zstandard

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.recording.reader import RecordedFrame, read_recording

DEPTH = b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","U":1,"u":2%b,"b":[],"a":[]}}'


def cryptofeed(path: Path, *entries: dict[str, object]) -> Path:
    path.write_bytes(zstandard.compress(b"\n".join(map(orjson.dumps, entries))))
    return path


def hftbacktest(path: Path, *lines: bytes) -> Path:
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    return path


def test_a_cryptofeed_capture_gives_frames_and_replies(tmp_path: Path) -> None:
    path = cryptofeed(
        tmp_path / "a",
        {"t": "header", "exchange": "BINANCE_FUTURES"},
        {"t": "http", "url": "https://x/y", "data": "{}"},
        {"t": "connect", "addr": "wss://x"},
        {"t": "send", "data": "ignored"},
        {"t": "recv", "ts": 1.5, "data": "ä"},
        {"t": "recv", "ts": 2.0, "b64": b64encode(b"\x00\xff").decode()},
    )
    recording = read_recording(path, None)
    assert recording.exchange == "binanceusdm"
    assert recording.replies == [("https://x/y", b"{}")]
    assert recording.frames == [
        RecordedFrame(1_500_000_000, "ä".encode()),
        RecordedFrame(2_000_000_000, b"\x00\xff", is_binary=True),
    ]


@pytest.mark.parametrize(
    ("fields", "exchange"), [(b"", "binance"), (b',"pu":0', "binanceusdm"), (b',"pu":0,"ps":"BTCUSD"', "binancecoinm")]
)
def test_a_hftbacktest_capture_tells_its_exchange_by_its_depth_updates(
    fields: bytes, exchange: str, tmp_path: Path
) -> None:
    path = hftbacktest(tmp_path / "a", b"17 " + DEPTH % fields, b'18 {"lastUpdateId":5,"bids":[],"asks":[]}')
    recording = read_recording(path, None)
    assert recording.exchange == exchange
    assert recording.frames == [RecordedFrame(17, DEPTH % fields)]
    assert recording.replies == [("depth", b'{"lastUpdateId":5,"bids":[],"asks":[]}')]


def test_a_given_exchange_wins(tmp_path: Path) -> None:
    path = cryptofeed(tmp_path / "a", {"t": "header", "exchange": "BINANCE"})
    assert read_recording(path, "binanceus").exchange == "binanceus"


@pytest.mark.parametrize(
    "content",
    [
        b"plain",
        b"",
        gzip.compress(b"17 nonsense"),
        gzip.compress(b"x " + DEPTH % b""),
        gzip.compress(b"17 " + DEPTH)[:-9],
        zstandard.compress(b'{"t":"recv","ts":1,"data":"x"}'),
        zstandard.compress(b'{"t":"header"'),
        zstandard.compress(b'{"t":"recv"}\n' * 9)[:-2],
    ],
    # gzip writes the time into its header: as an id it would differ between workers.
    ids=["plain", "empty", "no-json", "no-time", "torn-gzip", "no-header", "torn-json", "torn-zstd"],
)
def test_what_is_not_a_capture_is_refused_with_the_file_s_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "strange"
    path.write_bytes(content)
    with pytest.raises(OptionError, match="strange: expected a cryptofeed v3 capture"):
        read_recording(path, None)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No such file"):
        read_recording(tmp_path / "absent", None)
