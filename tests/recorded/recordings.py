"""The recordings: real exchanges' frames, which are no part of the repository."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def recording(name: str) -> Path:
    """Return the path of a recording, or skip the test where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here: expected {path}")
    return path


@dataclass
class BinanceRecording:
    """What a recording of Binance's combined streams holds, read straight from its lines."""

    snapshot_id: int = 0
    deltas: list[tuple[int, int]] = field(default_factory=list)
    trade_ids: list[int] = field(default_factory=list)
    touches: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, *names: str) -> "BinanceRecording":
        """Read `<recv_ns> <frame>` lines of several files as one recording."""
        found = cls()
        for name in names:
            with gzip.open(recording(name)) as lines:
                for line in lines:
                    found._take(orjson.loads(line.partition(b" ")[2]))
        return found

    def _take(self, frame: dict[str, Any]) -> None:
        stream = frame.get("stream", "")
        data = frame.get("data", frame)
        if not stream:
            self.snapshot_id = data["lastUpdateId"]
        elif stream.endswith("@trade"):
            self.trade_ids.append(data["t"])
        elif stream.endswith("@bookTicker"):
            self.touches[data["u"]] = (float(data["b"]), float(data["B"]), float(data["a"]), float(data["A"]))
        else:
            self.deltas.append((data["U"], data["u"]))


def received(name: str) -> Iterator[dict[str, Any]]:
    """Yield the frames of a `.jsonl.zst` recording that came from the exchange, parsed."""
    yield from map(orjson.loads, _texts(name, "recv"))


def replied(name: str) -> Iterator[bytes]:
    """Yield the REST replies of a `.jsonl.zst` recording."""
    yield from (text.encode() for text in _texts(name, "http"))


def _texts(name: str, kind: str) -> Iterator[str]:
    reader = zstandard.ZstdDecompressor().stream_reader(recording(name).open("rb"))
    with reader:
        for line in reader.read().splitlines():
            entry = orjson.loads(line)
            if entry["t"] == kind and "data" in entry:
                yield entry["data"]
