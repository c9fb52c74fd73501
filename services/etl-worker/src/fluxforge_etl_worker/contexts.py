"""Contexts: what came before a segment in its lane, from the tail sidecars of the segments before it.

A sidecar that is not there is built from the raw data and stored: it is a function of these bytes, so workers need not
wait for one another. Where nobody can know a segment's tail any more a mark says so, and the walk back ends. What may
heal by itself never leads to a mark.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import orjson

from fluxforge.domain.errors import ManifestError, ObjectExistsError, ObjectNotFoundError, SegmentCorruptError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import Manifest
from fluxforge.ports.store import Store
from fluxforge_etl_worker.history import History
from fluxforge_etl_worker.pipeline import tail_of
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.source import chunks_since, sealed_chunks
from fluxforge_etl_worker.tail import Tail, history_of
from fluxforge_etl_worker.upkeep import Upkeep

Reading = Callable[[str | None], None]
"""Told the name of a segment whose raw data is about to be read for the sake of another, and None when that is over."""


class Contexts:
    """The tail sidecars of a store's lanes; counts what it does in `upkeep`."""

    __slots__ = ("_layout", "_options", "_raw", "_reading", "upkeep")

    def __init__(self, raw: Store, layout: Layout, options: EtlOptions, reading: Reading | None = None) -> None:
        self._raw = raw
        self._layout = layout
        self._options = options
        self._reading = reading
        self.upkeep = Upkeep()

    def before(self, manifest: Manifest) -> History:
        """Return what a segment must know of its lane.

        The walk back includes one segment that ends before the lookback begins: it tells which feeds there were.
        """
        if manifest.previous is None:
            return History.of_lane_start(manifest.first_capture_ns)
        begin_ns = manifest.previous.last_capture_ns - self._options.lookback.reach_ns
        tails: list[Tail] = []
        previous = manifest.previous
        while (tail := self._tail(manifest.lane, previous.name)) is not None:
            tails.append(tail)
            if tail.last_capture_ns <= begin_ns or tail.previous is None:
                break
            previous = tail.previous
        return history_of(tails[::-1], manifest.previous, self._options)

    def store(self, tail: Tail) -> None:
        """Make a tail durable. One that stands is left, unless nobody can read it."""
        key = self._layout.tail_key(Lane.parse(tail.lane), tail.segment)
        try:
            self._raw.create(key, tail.to_bytes())
        except ObjectExistsError:
            if self._read(key) is not None:
                return
            self._raw.delete(key)
            self.store(tail)
        else:
            self.upkeep.tails_written += 1

    def ensure(self, manifest: Manifest) -> bool:
        """Return whether the tail of a segment stands, built now where it did not."""
        key = self._layout.tail_key(manifest.lane, manifest.name)
        return self._raw.size(key) is not None or self._build(manifest.lane, manifest.name) is not None

    def mark_dead(self, lane: Lane, segment: str, reason: str) -> None:
        """Say that nobody will ever know the tail of a segment."""
        mark = {"lane": str(lane), "segment": segment, "reason": reason}
        try:
            self._raw.create(
                self._layout.tail_dead_key(lane, segment), orjson.dumps(mark, option=orjson.OPT_APPEND_NEWLINE)
            )
        except ObjectExistsError:
            return
        self.upkeep.tails_dead += 1

    def sweep(self, manifest: Manifest) -> None:
        """Remove the tails that no segment after a placed one asks for.

        The newest of those that lie before its lookback stays: its feeds are still asked for. Oldest first, so that
        what a kill leaves is still one unbroken row, at whose first gap the next sweep ends.
        """
        begin_ns = manifest.last_capture_ns - self._options.lookback.reach_ns
        passed = [key for key, last_capture_ns in self._placed_before(manifest) if last_capture_ns <= begin_ns]
        for key in reversed(passed[1:]):
            self._raw.delete(key)
            self.upkeep.tails_swept += 1

    def _placed_before(self, manifest: Manifest) -> Iterator[tuple[str, int]]:
        """Yield sidecar and end of the segments before one, newest first, while they are placed and have one.

        One that is committed alone may yet be made again, of what came before it.
        """
        previous = manifest.previous
        while previous is not None:
            key = self._layout.tail_key(manifest.lane, previous.name)
            placed_key = self._layout.placed_key(manifest.lane, previous.name)
            if self._raw.size(key) is None or self._raw.size(placed_key) is None:
                return
            yield key, previous.last_capture_ns
            try:
                previous = self._manifest(manifest.lane, previous.name).previous
            except (ObjectNotFoundError, ManifestError):
                return

    def _tail(self, lane: Lane, segment: str) -> Tail | None:
        tail = self._read(self._layout.tail_key(lane, segment))
        if tail is None and self._raw.size(self._layout.tail_dead_key(lane, segment)) is None:
            return self._build(lane, segment)
        return tail

    def _build(self, lane: Lane, segment: str) -> Tail | None:
        """Build and store a tail from raw data; None where that is gone or unreadable."""
        self._tell(segment)
        tail: Tail | None = None
        try:
            tail = self._built(self._manifest(lane, segment))
        except ObjectNotFoundError as error:
            tail = self._gone(lane, segment, str(error))
        except (SegmentCorruptError, ManifestError) as error:
            self.mark_dead(lane, segment, str(error))
        else:
            self.upkeep.contexts_built += 1
            self.store(tail)
        self._tell(None)  # not said when anything else was raised: then it is this segment that did it
        return tail

    def _tell(self, segment: str | None) -> None:
        if self._reading is not None:
            self._reading(segment)

    def _built(self, manifest: Manifest) -> Tail:
        def chunks() -> Iterator[bytes]:
            found = sealed_chunks(self._raw, self._layout, manifest)
            if manifest.epoch == 0:
                return found  # adopted: its records may stand in any order
            return chunks_since(found, manifest.last_capture_ns - self._options.lookback.reach_ns)

        return tail_of(manifest, self._options, chunks)

    def _gone(self, lane: Lane, segment: str, reason: str) -> Tail | None:
        """Look again for what another worker may have stored before it deleted the data.

        A recomputation falls back on what the first computation left. What is committed and swept is merely not known.
        """
        layouts = (self._layout, replace(self._layout, is_recomputation=False))
        for layout in layouts:
            if (tail := self._read(layout.tail_key(lane, segment))) is not None:
                return tail
        if all(self._raw.size(layout.commit_key(lane, segment)) is None for layout in layouts):
            self.mark_dead(lane, segment, f"neither data nor tail nor commit: {reason}")
        return None

    def _manifest(self, lane: Lane, segment: str) -> Manifest:
        key = self._layout.manifest_key(lane, segment)
        return Manifest.from_json(self._raw.read(key), what=key)

    def _read(self, key: str) -> Tail | None:
        """Return a sidecar; None where there is none, or one that cannot be read and has to be built again."""
        try:
            return Tail.from_bytes(self._raw.read(key), what=key)
        except (ObjectNotFoundError, SegmentCorruptError):
            return None
