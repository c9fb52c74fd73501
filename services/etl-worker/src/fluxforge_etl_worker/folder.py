"""`etl run`: every segment that stands in a folder, without any bus; running it again does only what is left."""

import contextlib
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal

from typing_extensions import override

from fluxforge.domain.errors import ConfigurationError, ManifestError, ObjectNotFoundError, PermanentError
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest
from fluxforge.runtime.settings import Settings
from fluxforge_etl_worker.adopt import adopt
from fluxforge_etl_worker.alone import EXPECTED, ProcessUnavailableError, process_alone
from fluxforge_etl_worker.days import Day, meets
from fluxforge_etl_worker.features.registry import FEATURE_VERSION
from fluxforge_etl_worker.listing import Listed, listed
from fluxforge_etl_worker.main import worker_of
from fluxforge_etl_worker.work import Outcome, SegmentLostError, Worker

Mode = Literal["all", "date"]
_TRIES: Final = 10
_NO_RAW: Final = (
    "its data was deleted after processing, so that it cannot be recomputed; "
    "etl.delete_after_processing: false keeps the data of segments to come"
)


@dataclass(frozen=True, slots=True)
class DeadSegment:
    """A segment that cannot be processed, and why; it stays where it is."""

    lane: str
    segment: str
    reason: str


@dataclass(frozen=True, slots=True)
class FolderSummary:
    """What a run found and did. Counts of records and rows are of the segments processed by this run.

    `upkeep`: what was done around the parts, by kind; see `Upkeep`.
    """

    segments: int
    processed: int
    done_before: int
    dead: tuple[DeadSegment, ...]
    records: int
    quarantined: int
    rows: dict[str, int]
    upkeep: dict[str, int] = field(default_factory=dict)

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
    settings: Settings,
    *,
    mode: Mode = "all",
    date: str | None = None,
    source: str | None = None,
    delete: bool = False,
    force: bool = False,
) -> FolderSummary:
    """Process what `raw/ready/` holds: all of it, or the segments of which something belongs to the UTC day `date`.

    With `etl.workers` above 1 as many processes share the work. `delete`: the data of every segment goes once it is
    placed, that of files put there by hand too. `force`: everything is computed again from the raw data into
    `processed_dir`, which must not be where it stands already.

    Raises:
        ConfigurationError: `mode` date without a date, or one that is no day; `force` in place.
        NameRefusedError: A folder or file whose name cannot be a lane's or a segment's.
    """
    day = Day.parse(date) if mode == "date" else None
    worker = worker_of(settings)
    worker.probe()
    if delete:
        worker = replace(worker, retirement=replace(worker.retirement, sealed=True, adopted=True))
    dead: list[DeadSegment] = []
    wanted = [
        manifest
        for manifest in _manifests(worker, source, dead)
        if day is None or meets(manifest, day, worker.options.bar_durations_s)
    ]
    if force:
        _refuse_in_place(worker, wanted)
        worker = worker.recomputing()
    results = list(_results(worker, wanted, settings.etl.workers))
    dead += [result for result in results if isinstance(result, DeadSegment)]
    return _summary([result for result in results if isinstance(result, Outcome)], dead)


def adopt_folder(settings: Settings, source: str) -> tuple[list[Manifest], list[DeadSegment]]:
    """Give every file of a source that stands in `raw/ready/` its manifest, and process nothing.

    Returns:
        All manifests of the source, and what cannot be adopted.

    Raises:
        NameRefusedError: A folder or file whose name cannot be a lane's or a segment's.
    """
    dead: list[DeadSegment] = []
    return list(_manifests(worker_of(settings), source, dead)), dead


def _summary(outcomes: list[Outcome], dead: list[DeadSegment]) -> FolderSummary:
    made = [outcome for outcome in outcomes if outcome.forged]
    rows: Counter[str] = Counter()
    upkeep: Counter[str] = Counter()
    for outcome in made:
        rows.update(outcome.rows)
    for outcome in outcomes:
        upkeep.update(asdict(outcome.upkeep))
    return FolderSummary(
        segments=len(outcomes) + len(dead),
        processed=len(made),
        done_before=len(outcomes) - len(made),
        dead=tuple(dead),
        records=sum(outcome.records for outcome in made),
        quarantined=sum(outcome.quarantined for outcome in made),
        rows=dict(rows),
        upkeep={kind: count for kind, count in upkeep.items() if count},
    )


def _manifests(worker: Worker, source: str | None, dead: list[DeadSegment]) -> Iterator[Manifest]:
    """Yield the manifest of every segment, lane by lane in name order; one without gets its manifest now."""
    for lane, segments in listed(worker.raw, worker.options.layout).items():
        if source is not None and lane.source != source:
            continue
        before: Manifest | None = None
        followed = _followed(worker, segments)
        for segment in segments:
            if worker.is_on_its_way(segment, segments[-1]):
                continue
            try:
                before = _manifest(worker, segment, before, followed)
            except PermanentError as error:
                dead.append(_dead(worker, segment.lane, segment.name, error))
            else:
                yield before


def _followed(worker: Worker, segments: list[Listed]) -> frozenset[str]:
    """Return the names that segments of a lane go on from already, where a file without manifest stands before one."""
    sealed = [segment.has_manifest for segment in segments]
    if sealed == sorted(sealed, reverse=True):  # the usual case: new files after all others
        return frozenset()
    previous = []
    for segment in segments:
        if segment.has_manifest:
            with contextlib.suppress(PermanentError):  # one that cannot be read is condemned when its turn comes
                previous.append(worker.manifest(segment.lane, segment.name).previous)
    return frozenset(one.name for one in previous if one)


def _manifest(worker: Worker, segment: Listed, before: Manifest | None, followed: frozenset[str]) -> Manifest:
    if segment.has_manifest or segment.file is None:
        return worker.manifest(segment.lane, segment.name)
    if before is not None and before.name in followed:
        before = None  # what was open at its end is in the rows of the segment that follows it already
    try:
        return adopt(worker.raw, worker.options.layout, segment.lane, segment.file, before, worker.clock)
    except EXPECTED:
        raise
    except Exception as error:  # whatever is wrong with this file, the others go on
        key = worker.options.layout.segment_key(segment.lane, segment.file)
        raise ManifestError(f"no manifest of {key}", f"{type(error).__name__}: {error}") from error


def _refuse_in_place(worker: Worker, wanted: Iterable[Manifest]) -> None:
    processed_dir, recomputing = worker.options.layout.processed_dir, worker.recomputing()
    for manifest in wanted:
        commit = worker.attempts.committed(manifest.lane, manifest.name)
        is_here = commit and any(part.final_key.startswith(f"{processed_dir}/") for part in commit.parts)
        if is_here and recomputing.attempts.committed(manifest.lane, manifest.name) is None:
            raise ConfigurationError(
                f"etl run --force recomputes into another directory, and what {manifest.lane} {manifest.name} became "
                f"stands in {processed_dir!r} already: set storage.paths.processed_dir to a new one, such as "
                f"FLUXFORGE__STORAGE__PATHS__PROCESSED_DIR={processed_dir}_{FEATURE_VERSION}, and run it again"
            )


def _results(worker: Worker, wanted: list[Manifest], processes: int) -> Iterable[Outcome | DeadSegment]:
    if processes == 1 or len(wanted) <= 1:
        return (_process(worker, manifest) for manifest in wanted)
    results: list[Outcome | DeadSegment] = []
    # Spawned, not forked: Arrow's threads do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for result in pool.map(_process, [worker] * len(wanted), wanted):
                results.append(result)  # noqa: PERF402 - those before one that breaks the pool are kept
        except BrokenProcessPool:  # one of the segments at hand ended its process: each is told apart from now on
            results += [_process_apart(worker, manifest) for manifest in wanted[len(results) :]]
    return results


def _process(worker: Worker, manifest: Manifest) -> Outcome | DeadSegment:
    try:
        return _judged(worker, manifest, lambda one, _: one.process(manifest.lane, manifest.name))
    except EXPECTED:
        raise
    except Exception:  # noqa: BLE001 - it is met again in a process of its own, and condemns this segment alone
        return _judged(worker, manifest, _alone)


def _process_apart(worker: Worker, manifest: Manifest) -> Outcome | DeadSegment:
    if worker.attempts.is_placed(manifest.lane, manifest.name):
        return _process(worker, manifest)
    return _judged(worker, manifest, _alone)


def _alone(worker: Worker, manifest: Manifest) -> Outcome:
    for _ in range(_TRIES):
        with contextlib.suppress(ProcessUnavailableError):
            return process_alone(worker, manifest.lane, manifest.name)
    return process_alone(worker, manifest.lane, manifest.name)


def _judged(worker: Worker, manifest: Manifest, work: Callable[[Worker, Manifest], Outcome]) -> Outcome | DeadSegment:
    lane, segment = manifest.lane, manifest.name
    try:
        outcome = work(worker, manifest)
    except SegmentLostError as error:
        if worker.options.layout.is_recomputation:  # nothing is wrong with it: it is there, as it was computed once
            return DeadSegment(str(lane), segment, _NO_RAW)
        return _dead(worker, lane, segment, error)
    except (PermanentError, ObjectNotFoundError) as error:
        return _dead(worker, lane, segment, error)
    if worker.is_dead(lane, segment):  # it was, and somebody put right what was wrong with it
        worker.unmark(lane, segment)
    return outcome


def _dead(worker: Worker, lane: Lane, segment: str, error: PermanentError | ObjectNotFoundError) -> DeadSegment:
    worker.mark_dead(lane, segment, error)
    return DeadSegment(str(lane), segment, str(error))
