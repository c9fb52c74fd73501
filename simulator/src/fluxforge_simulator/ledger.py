"""The ledger: one NDJSON line for each frame sent, each REST answer, and each frame left out or held back.

Lines are written in the order of sending and are complete when `close` has returned. Without a path nothing is
hashed and nothing is written; the counts are kept all the same.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import orjson

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Frame

_BUFFER_BYTES_MAX = 1 << 18


class Ledger:
    """Writes what was sent, to be compared with what arrived."""

    def __init__(self, path: Path | None) -> None:
        """Open `path` for writing, replacing what stands there.

        Raises:
            OptionError: the file cannot be written.
        """
        self.counts: Counter[tuple[str, str | None, str | None]] = Counter()
        self._n = 0
        self._lines: list[bytes] = []
        self._buffered_bytes = 0
        self._file: BinaryIO | None = None
        if path is not None:
            try:
                self._file = path.open("wb")
            except OSError as error:
                raise OptionError("--ledger", str(path), "a file that can be written", str(error.strerror)) from error

    def enter(self, frame: Frame, *, conn: int, exchange: str, sent_ns: int) -> None:
        """Add one line. `conn` is 0 where no connection is concerned: REST answers and skipped frames."""
        self._n += 1
        self.counts[frame.kind.value, frame.channel, frame.symbol] += 1
        if self._file is None:
            return
        line = orjson.dumps(
            {
                "n": self._n,
                "conn": conn,
                "exchange": exchange,
                "channel": frame.channel,
                "symbol": frame.symbol,
                "kind": frame.kind.value,
                "key": frame.key,
                "bytes": len(frame.payload),
                "sha256": hashlib.sha256(frame.payload).hexdigest(),
                "sent_ns": sent_ns,
                "fault": frame.fault,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        self._lines.append(line)
        self._buffered_bytes += len(line)
        if self._buffered_bytes >= _BUFFER_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Hand the buffered lines to the file."""
        if self._file is not None and self._lines:
            self._file.write(b"".join(self._lines))
            self._file.flush()
            self._lines.clear()
            self._buffered_bytes = 0

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
