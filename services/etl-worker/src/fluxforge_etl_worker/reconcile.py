"""Reconciling: sealed segments that stand in storage and of which nobody will ever hear are announced again."""

from fluxforge.domain.errors import ManifestError, ObjectNotFoundError
from fluxforge.domain.segment import SealedEvent
from fluxforge_etl_worker.adopt import segments_by_lane
from fluxforge_etl_worker.work import Worker


def missing_events(worker: Worker) -> list[SealedEvent]:
    """Return the events of all segments with a manifest that are neither placed nor dead, in order of lane and name.

    A file without manifest is no sealed segment: `etl run` adopts it. A manifest that cannot be read is left to its own
    event.
    """
    found = []
    for lane, files in segments_by_lane(worker.raw, worker.options.layout).items():
        for segment in files:
            if worker.attempts.is_placed(lane, segment) or worker.is_dead(lane, segment):
                continue
            try:
                manifest = worker.manifest(lane, segment)
            except (ObjectNotFoundError, ManifestError):
                continue
            found.append(
                SealedEvent(str(lane), segment, manifest.size_bytes, manifest.records, manifest.last_capture_ns)
            )
    return found
