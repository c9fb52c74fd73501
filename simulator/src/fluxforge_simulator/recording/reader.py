"""Readers: the two containers of recorded captures as one.

cryptofeed v3 (zstandard): one JSON object per line, `t` is header, http, connect, send or recv; binary frames in
base64. hftbacktest (gzip): `<recv_ns> <raw JSON>`, where a line without `stream` is the REST order book.
Receive times are kept as they are: they may stand behind the venue's own clock.
"""

import binascii
import gzip
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import zstandard

from fluxforge_simulator.errors import OptionError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
_CONTAINERS = "a cryptofeed v3 capture (.jsonl.zst) or a hftbacktest capture (.gz)"
_HEADER_NAMES = {
    "BINANCE": "binance",
    "BINANCE_US": "binanceus",
    "BINANCE_FUTURES": "binanceusdm",
    "BINANCE_DELIVERY": "binancecoinm",
    "COINBASE": "coinbase",
    "OKX": "okx",
    "GEMINI": "gemini",
    "KUCOIN": "kucoin",
    "BITFINEX": "bitfinex",
}


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame as the venue sent it."""

    recv_ns: int
    payload: bytes
    is_binary: bool = False


@dataclass(slots=True)
class Recording:
    """What was captured from one exchange: frames, and REST bodies by URL; an inline order book has the URL `depth`."""

    exchange: str
    frames: list[RecordedFrame] = field(default_factory=list)
    replies: list[tuple[str, bytes]] = field(default_factory=list)


def read_recording(path: Path, exchange: str | None) -> Recording:
    """Read a whole file. `exchange` wins over what the file says of itself.

    Raises:
        OptionError: the file cannot be read, or is not such a capture.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic == _ZSTD_MAGIC:
                return _read_cryptofeed(_decompress(file.read()).splitlines(), exchange)
            if magic[:2] == _GZIP_MAGIC:
                with gzip.open(file) as lines:
                    return _read_hftbacktest(lines, exchange)
    except OSError as error:
        raise OptionError("--recording", str(path), "a file that can be read", str(error.strerror or error)) from error
    except (EOFError, KeyError, ValueError, zstandard.ZstdError, binascii.Error) as error:
        raise OptionError("--recording", str(path), _CONTAINERS, f"{type(error).__name__}: {error}") from error
    raise OptionError("--recording", str(path), _CONTAINERS, "neither zstandard nor gzip")


def _decompress(data: bytes) -> bytes:
    """Decompress all frames of a zstandard file; unlike the stream reader, notice when the last one is cut short."""
    parts: list[bytes] = []
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(data))
        if not frame.eof:
            raise ValueError("the file is cut short")
        data = frame.unused_data
    return b"".join(parts)


def _read_cryptofeed(lines: Iterable[bytes], exchange: str | None) -> Recording:
    recording = Recording(exchange or "")
    for line in lines:
        entry = orjson.loads(line)
        match entry["t"]:
            case "header":
                recording.exchange = exchange or _HEADER_NAMES.get(entry["exchange"], entry["exchange"].lower())
            case "http":
                recording.replies.append((entry["url"], entry["data"].encode()))
            case "recv":
                is_binary = "b64" in entry
                payload = b64decode(entry["b64"]) if is_binary else entry["data"].encode()
                recording.frames.append(RecordedFrame(round(entry["ts"] * 1e9), payload, is_binary))
    if not recording.exchange:
        raise ValueError("no header that names the exchange")
    return recording


def _read_hftbacktest(lines: Iterable[bytes], exchange: str | None) -> Recording:
    recording = Recording(exchange or "")
    for line in lines:
        time_text, _, payload = line.strip().partition(b" ")
        if payload.startswith(b'{"stream"'):
            recording.frames.append(RecordedFrame(int(time_text), payload))
        elif payload.startswith(b'{"lastUpdateId"'):
            recording.replies.append(("depth", payload))
        else:
            raise ValueError(f"expected `<recv_ns> <JSON>`, was {line[:60]!r}")
    if not recording.exchange:
        recording.exchange = _binance_family(recording.frames)
    return recording


def _binance_family(frames: list[RecordedFrame]) -> str:
    """Tell by the fields of a depth update: only futures chain by `pu`, only coin-margined ones name the pair `ps`."""
    for frame in frames:
        if b'"e":"depthUpdate"' in frame.payload:
            data = orjson.loads(frame.payload)["data"]
            if "ps" in data:
                return "binancecoinm"
            return "binanceusdm" if "pu" in data else "binance"
    return "binance"
