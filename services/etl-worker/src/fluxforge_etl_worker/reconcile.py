"""Reconciling: sealed segments that stand in storage and of which nobody will ever hear are announced again."""

from fluxforge.domain.errors import ManifestError, ObjectNotFoundError
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import SealedEvent
from fluxforge_etl_worker.listing import listed
from fluxforge_etl_worker.work import Worker


def missing_events(worker: Worker) -> list[SealedEvent]:
    """Return the events of all segments with a manifest that are neither placed nor dead, in order of lane and name.

    A file without manifest is no sealed segment: `etl run` adopts it. A manifest without file is one whose data is on
    its way, or is committed and to be placed, or is lost: whoever takes the latter finds so. A manifest that cannot be
    read is left to its own event.
    """
    found = []
    for lane, segments in listed(worker.raw, worker.options.layout).items():
        placed = worker.placed(lane)
        for segment in segments:
            if not segment.has_manifest or segment.name in placed or worker.is_dead(lane, segment.name):
                continue
            if worker.is_on_its_way(segment, segments[-1]):
                continue
            try:
                manifest = worker.manifest(lane, segment.name)
            except (ObjectNotFoundError, ManifestError):
                continue
            found.append(SealedEvent.of(manifest))
    return found


def is_settled(worker: Worker, event: SealedEvent) -> bool:
    """Return whether the segment of an event is placed or dead."""
    lane = Lane.parse(event.lane)
    return worker.attempts.is_placed(lane, event.segment) or worker.is_dead(lane, event.segment)
