"""Ingest: DBN files as segments of a lane per dataset, all of them or none.

Everything is translated into files of the scratch directory first; only then are these entered into the store, each
in one step. Names come from the content: whoever was killed in between runs the same command again, and nothing is
there twice.
"""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fluxforge.domain.errors import InputFileError, ObjectExistsError, RecordError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import MANIFEST_SUFFIX, Layout
from fluxforge.domain.segment import Manifest
from fluxforge.ports.store import Store
from fluxforge.runtime.settings.databento import BOOK_SCHEMAS, exchange_id
from fluxforge.runtime.settings.lanes import DATABENTO
from fluxforge_collector.databento_source.dbn_file import DbnFile, open_dbn
from fluxforge_collector.databento_source.lines import Boot, LaneLines
from fluxforge_collector.databento_source.markets import Markets
from fluxforge_collector.databento_source.translate import SCHEMAS, TRADES, Doubt, Told, Translator

_FORM: Final = "2"
"""Of the records that are made: another one makes other segments of the same files."""
_DIGEST_DIGITS: Final = 12
_NS: Final = 1_000_000_000
_NS_MAX: Final = 2**62


@dataclass(slots=True)
class Ingested:
    """What became of the files of one dataset. `updates`: records by channel; `doubts`: reasons, with counts."""

    lane: Lane
    segments: list[str] = field(default_factory=list)
    done_before: int = 0
    updates: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Ingest:
    """Where segments go and how they are made. `depth`: levels per side of books kept order by order."""

    store: Store
    layout: Layout
    scratch_dir: Path
    depth: int
    segment_bytes_max: int

    def run(self, paths: Sequence[Path]) -> list[Ingested]:
        """Ingest files, those of one dataset merged by time; return what became of each dataset's.

        Raises:
            InputFileError: A file that cannot be taken in, is named twice, or was ingested with others.
            NameRefusedError: A market whose name cannot be stored.
            ConfigurationError: Two markets with one id.
        """
        files = [open_dbn(path) for path in paths]
        lanes: dict[Lane, list[DbnFile]] = {}
        for file in files:
            _check(file, files)
            lanes.setdefault(lane_of(file), []).append(file)
        for lane, members in lanes.items():
            _check_books(members)
            self._refuse_known(lane, members)
        self.scratch_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ingest-", dir=self.scratch_dir) as folder:
            staged = [self._stage(lane, members, Path(folder)) for lane, members in lanes.items()]
            return [self._enter(done, segments) for done, segments in staged]

    def _stage(self, lane: Lane, files: Sequence[DbnFile], folder: Path) -> tuple[Ingested, list[Path]]:
        done = Ingested(lane)
        has_trades = any(file.schema == TRADES for file in files)
        boots = [
            Boot(file.boot, f"{file.path.name}: {file.schema}", _told(file, self.depth, not has_trades, done))
            for file in files
        ]
        lines = LaneLines(lane)
        stem = self._digest(files)
        paths: list[Path] = []
        pending = lines.of(boots)
        first = next(pending, None)
        while first is not None:
            path = folder / f"{_prefix(lines.last_ns)}_{stem}_{len(paths) + 1:05}.ndjson"
            first = _write(path, first, pending, self.segment_bytes_max)
            paths.append(path)
        return done, paths

    def _enter(self, done: Ingested, paths: Iterable[Path]) -> Ingested:
        for path in paths:
            done.segments.append(path.stem)
            if self.store.size(self.layout.manifest_key(done.lane, path.stem)) is not None:
                done.done_before += 1  # its data may be in Parquet and gone by now
                continue
            try:
                self.store.adopt(self.layout.segment_key(done.lane, path.name), path)
            except ObjectExistsError:  # entered by a run that was killed: the name tells the content
                done.done_before += 1
        return done

    def _refuse_known(self, lane: Lane, files: Sequence[DbnFile]) -> None:
        boots = {file.boot: file for file in files}
        ours = f"_{self._digest(files)}_"
        for key in self.store.keys(self.layout.ready_prefix(lane)):
            if not key.endswith(MANIFEST_SUFFIX) or ours in key:
                continue
            manifest = Manifest.from_json(self.store.read(key), what=key)
            known = next((boots[feed.boot] for feed in manifest.feeds if feed.boot in boots), None)
            if known is not None:
                reason = f"was ingested before: its records stand in {lane} {manifest.name}"
                raise InputFileError(str(known.path), reason)

    def _digest(self, files: Iterable[DbnFile]) -> str:
        parts = [_FORM, str(self.depth), str(self.segment_bytes_max), *sorted(file.boot for file in files)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:_DIGEST_DIGITS]


def lane_of(file: DbnFile) -> Lane:
    """Return the lane of a file's dataset: `GLBX.MDP3` is the exchange `glbxmdp3`."""
    return Lane(DATABENTO, exchange_id(file.dataset), "0of1")


def _check(file: DbnFile, files: Iterable[DbnFile]) -> None:
    if file.schema not in SCHEMAS:
        expected = f"expected one of {', '.join(SCHEMAS)}"
        raise InputFileError(str(file.path), f"schema {file.schema} is not taken in; {expected}")
    twin = next((other for other in files if other is not file and other.boot == file.boot), None)
    if twin is not None:
        raise InputFileError(str(file.path), f"holds the same as {twin.path}; name it once")


def _check_books(files: Iterable[DbnFile]) -> None:
    """Refuse two views of one book: their updates would alternate in one feed."""
    by_schema = {file.schema: file for file in files if file.schema in BOOK_SCHEMAS}
    if len(by_schema) > 1:
        first, second, *_ = by_schema.values()
        reason = f"{second.schema} beside {first.schema} of {first.path}: two views of one book, ingest one of them"
        raise InputFileError(str(second.path), reason)


def _told(file: DbnFile, depth: int, with_trades: bool, done: Ingested) -> Iterator[Told]:  # noqa: FBT001 - internal
    """Yield what a file tells, and count it."""
    translator = Translator(file.schema, Markets.of(file.metadata.mappings), depth=depth, with_trades=with_trades)
    try:
        for record in file.records():
            yield from _counted(translator.take(record), done)
        yield from _counted(translator.end(), done)
    except RecordError as error:
        raise InputFileError(str(file.path), error.reason) from error


def _counted(told: Iterable[Told], done: Ingested) -> Iterator[Told]:
    for item in told:
        if item.at_ns > _NS_MAX:
            raise RecordError(f"a record of {item.channel} {item.market} without the time it was received")
        if isinstance(item, Doubt):
            done.doubts[f"{item.market}: {item.reason}"] += item.records
        else:
            done.updates[item.channel] += 1
        yield item


def _prefix(ns: int) -> str:
    return f"dbn_{datetime.fromtimestamp(ns // _NS, tz=UTC):%Y%m%dT%H%M%S}"


def _write(path: Path, first: bytes, lines: Iterator[bytes], size_bytes_max: int) -> bytes | None:
    """Write lines until the file is full; return the line after it, None where there is none. The file is synced."""
    with path.open("wb") as file:
        size_bytes = file.write(first)
        following = next(lines, None)
        while following is not None and size_bytes + len(following) <= size_bytes_max:
            size_bytes += file.write(following)
            following = next(lines, None)
        file.flush()
        os.fsync(file.fileno())
    return following
