"""The catalog: how each recorded exchange speaks, and the recordings of one run by exchange."""

from collections.abc import Callable, Iterable
from pathlib import Path

import orjson

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.recording.binance import BinanceDialect
from fluxforge_simulator.recording.bitfinex import BitfinexDialect
from fluxforge_simulator.recording.coinbase import CoinbaseDialect
from fluxforge_simulator.recording.dialect import Dialect
from fluxforge_simulator.recording.gemini import GeminiDialect
from fluxforge_simulator.recording.kucoin import KucoinDialect
from fluxforge_simulator.recording.okx import OkxDialect
from fluxforge_simulator.recording.reader import Recording, read_recording

DIALECTS: dict[str, Callable[[Recording, bytes | None], Dialect]] = {
    "binance": BinanceDialect,
    "binanceus": BinanceDialect,
    "binanceusdm": BinanceDialect,
    "binancecoinm": BinanceDialect,
    "bitfinex": BitfinexDialect,
    "coinbase": CoinbaseDialect,
    "gemini": GeminiDialect,
    "kucoin": KucoinDialect,
    "okx": OkxDialect,
}


def read_all(paths: Iterable[Path], exchange: str | None) -> list[Recording]:
    """Read recordings and join those of one exchange, in the order of their first frames.

    Raises:
        OptionError: a file cannot be read, or its exchange cannot be played.
    """
    joined: dict[str, list[Recording]] = {}
    for path in paths:
        recording = read_recording(path, exchange)
        if recording.exchange not in DIALECTS:
            option = "--exchange" if exchange else "--recording"
            reason = f"a recording of {recording.exchange}"
            raise OptionError(option, str(path), f"a recording of one of {', '.join(DIALECTS)}", reason)
        if not recording.frames:
            raise OptionError("--recording", str(path), "a recording with frames", "one without any")
        joined.setdefault(recording.exchange, []).append(recording)
    return [_join(parts) for parts in joined.values()]


def _join(parts: list[Recording]) -> Recording:
    parts.sort(key=lambda part: part.frames[0].recv_ns)
    frames = [frame for part in parts for frame in part.frames]
    replies = [reply for part in parts for reply in part.replies]
    return Recording(parts[0].exchange, frames, replies)


def read_markets(path: Path | None) -> bytes | None:
    """Read a market list as a venue's REST API answers it.

    Raises:
        OptionError: the file cannot be read or is not JSON.
    """
    if path is None:
        return None
    try:
        body = path.read_bytes()
        orjson.loads(body)
    except OSError as error:
        raise OptionError("--markets", str(path), "a file that can be read", str(error.strerror)) from error
    except orjson.JSONDecodeError as error:
        raise OptionError("--markets", str(path), "the JSON of a venue's market list", str(error)) from error
    return body
