"""`etl run`: every segment that stands in a folder, without any bus; running it again does only what is left."""

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from typing_extensions import override

from fluxforge.domain.errors import ConfigurationError, ManifestError, ObjectNotFoundError, PermanentError
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest
from fluxforge.runtime.settings import Settings
from fluxforge_etl_worker.adopt import adopt, segments_by_lane
from fluxforge_etl_worker.main import worker_of
from fluxforge_etl_worker.work import Outcome, Worker

Mode = Literal["all", "date"]
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class DeadSegment:
    """A segment that cannot be processed, and why; it stays where it is."""

    lane: str
    segment: str
    reason: str


@dataclass(frozen=True, slots=True)
class FolderSummary:
    """What a run found and did. Counts of records and rows are of the segments processed by this run."""

    segments: int
    processed: int
    done_before: int
    dead: tuple[DeadSegment, ...]
    records: int
    quarantined: int
    rows: dict[str, int]

    @override
    def __str__(self) -> str:
        """Return the summary as a person reads it, a dead segment per line at its end."""
        made = ", ".join(f"{rows} {dataset}" for dataset, rows in sorted(self.rows.items())) or "none"
        lines = [
            f"segments: {self.segments}, processed {self.processed}, done before {self.done_before}",
            f"records: {self.records}, quarantined {self.quarantined}",
            f"rows: {made}",
            *(f"dead: {dead.lane} {dead.segment}: {dead.reason}" for dead in self.dead),
        ]
        return "\n".join(lines)


def run_folder(
    settings: Settings, *, mode: Mode = "all", date: str | None = None, source: str | None = None
) -> FolderSummary:
    """Process what `raw/ready/` holds: all of it, or the segments with records of one UTC day `date`.

    With `etl.workers` above 1 as many processes share the work.

    Raises:
        ConfigurationError: `mode` date without a date, or one that is no day.
        NameRefusedError: A folder or file whose name cannot be a lane's or a segment's.
    """
    span = _span(mode, date)
    worker = worker_of(settings)
    dead: list[DeadSegment] = []
    wanted = [
        (manifest.lane, manifest.name)
        for manifest in _manifests(worker, source, dead)
        if span is None or (manifest.first_capture_ns < span[1] and manifest.last_capture_ns >= span[0])
    ]
    rows: Counter[str] = Counter()
    outcomes: list[Outcome] = []
    for result in _results(worker, wanted, settings.etl.workers):
        if isinstance(result, DeadSegment):
            dead.append(result)
            continue
        outcomes.append(result)
        if result.forged:
            rows.update(result.rows)
    made = [outcome for outcome in outcomes if outcome.forged]
    return FolderSummary(
        segments=len(outcomes) + len(dead),
        processed=len(made),
        done_before=len(outcomes) - len(made),
        dead=tuple(dead),
        records=sum(outcome.records for outcome in made),
        quarantined=sum(outcome.quarantined for outcome in made),
        rows=dict(rows),
    )


def _manifests(worker: Worker, source: str | None, dead: list[DeadSegment]) -> Iterator[Manifest]:
    """Yield the manifest of every segment, lane by lane in name order; one without gets its manifest now."""
    layout = worker.options.layout
    for lane, files in segments_by_lane(worker.raw, layout).items():
        if source is not None and lane.source != source:
            continue
        before: Manifest | None = None
        for segment, file in files.items():
            try:
                before = worker.manifest(lane, segment)
            except ObjectNotFoundError:
                try:
                    before = adopt(worker.raw, layout, lane, file, before, worker.clock)
                except PermanentError as error:
                    dead.append(_dead(worker, lane, segment, error))
                    continue
            except ManifestError as error:
                dead.append(_dead(worker, lane, segment, error))
                continue
            yield before


def _results(worker: Worker, wanted: list[tuple[Lane, str]], processes: int) -> Iterable[Outcome | DeadSegment]:
    if processes == 1 or len(wanted) <= 1:
        return (_process(worker, lane, segment) for lane, segment in wanted)
    # Spawned, not forked: Arrow's threads do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_process, [worker] * len(wanted), *zip(*wanted, strict=True)))


def _process(worker: Worker, lane: Lane, segment: str) -> Outcome | DeadSegment:
    try:
        return worker.process(lane, segment)
    except PermanentError as error:
        return _dead(worker, lane, segment, error)


def _dead(worker: Worker, lane: Lane, segment: str, error: PermanentError) -> DeadSegment:
    worker.mark_dead(lane, segment, error)
    return DeadSegment(str(lane), segment, str(error))


def _span(mode: Mode, day: str | None) -> tuple[int, int] | None:
    """Return the ns `[begin, end)` of the day, or None for everything."""
    if mode == "all":
        return None
    try:
        begin = datetime.strptime(day or "", "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigurationError(f"date: expected a UTC day such as 2026-11-22, was {day!r}") from None
    end = begin + timedelta(days=1)
    return int(begin.timestamp()) * _NS, int(end.timestamp()) * _NS
