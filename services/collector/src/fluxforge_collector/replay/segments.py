"""Segments as a replay reads them: the records of several files of one lane, in their order.

A record does not say which lane it is of: two lanes of an exchange are told by files that overlap in time.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

import zstandard

from fluxforge.domain.errors import InputFileError, RecordError
from fluxforge.domain.record import Envelope, read_data, read_envelope

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record: its envelope, the JSON text of its `data`, and where it stands."""

    envelope: Envelope
    data: bytes
    place: str


@dataclass(frozen=True, slots=True)
class Segments:
    """Readable files in the order of their first records. `exchange` and `source` are those of all of them."""

    paths: tuple[Path, ...]
    source: str
    exchange: str

    def records(self) -> Iterator[Recorded]:
        """Yield every record.

        Raises:
            InputFileError: A line is no record, or of another exchange than the files' first ones; a file begins before
                the one before it ends.
        """
        until_ns = 0
        for before, path in zip((None, *self.paths), self.paths, strict=False):
            begins_after_ns = until_ns
            for record in _records(path):
                _check_exchange(record, self.source, self.exchange)
                at_ns = record.envelope.capture_ns
                if before is not None and at_ns < begins_after_ns:
                    raise InputFileError(
                        record.place,
                        f"captured before the end of {before}: the two overlap in time, as shards, legs and files "
                        "ingested apart do; replay them one at a time",
                    )
                until_ns = max(until_ns, at_ns)
                yield record


def open_segments(paths: Sequence[Path]) -> Segments:
    """Look into the files that a person named.

    Raises:
        InputFileError: One cannot be read, is no segment, or is of another exchange than the first.
    """
    begins = [(next(_records(path), None), path) for path in paths]
    for first, path in begins:
        if first is None:
            raise InputFileError(str(path), "no segment: it is empty")
    found = sorted(((first, path) for first, path in begins if first), key=lambda pair: pair[0].envelope.capture_ns)
    source, exchange = found[0][0].envelope.source, found[0][0].envelope.exchange
    for first, _ in found:
        _check_exchange(first, source, exchange)
    return Segments(tuple(dict.fromkeys(path for _, path in found)), source, exchange)


def _records(path: Path) -> Iterator[Recorded]:
    try:
        with path.open("rb") as file, _plain(file) as lines:
            for number, line in enumerate(lines, start=1):
                place = f"{path}:{number}"
                try:
                    yield Recorded(read_envelope(line), read_data(line), place)
                except RecordError as error:
                    raise InputFileError(place, f"no segment: {error.reason}; expected a record per line") from error
    except OSError as error:
        raise InputFileError(str(path), error.strerror or str(error)) from error
    except zstandard.ZstdError as error:
        raise InputFileError(str(path), f"no segment: cannot be decompressed: {error}") from error


def _plain(file: IO[bytes]) -> IO[bytes]:
    magic = file.read(len(_ZSTD_MAGIC))
    file.seek(0)
    if magic != _ZSTD_MAGIC:
        return file
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader)))


def _check_exchange(record: Recorded, source: str, exchange: str) -> None:
    envelope = record.envelope
    if (envelope.source, envelope.exchange) != (source, exchange):
        raise InputFileError(
            record.place,
            f"of {envelope.source}'s {envelope.exchange}, the others are of {source}'s {exchange}; "
            "replay each exchange by itself",
        )
