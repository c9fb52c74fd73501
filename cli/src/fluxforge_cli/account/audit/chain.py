"""The chain: whether the manifests of a lane follow one another without a gap, by name, stream range and time. Pure."""

from collections.abc import Iterator
from itertools import pairwise

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.segment import Manifest, SegmentName
from fluxforge_cli.account.audit.books import LaneBooks, Segment
from fluxforge_cli.account.audit.findings import Finding, Kind

_SEED = 1


def chain(lane: LaneBooks) -> Iterator[Finding]:
    """Yield where manifests do not follow one another, and what is stored without one, or the other way round.

    Files put there by hand (epoch 0) follow nothing.
    """
    sealed = [segment.manifest for segment in lane.segments if segment.manifest.epoch]
    if sealed:
        yield from _begins(lane, sealed[0])
    for before, after in pairwise(sealed):
        yield from (Finding(Kind.CHAIN, str(lane.lane), text) for text in _follows(before, after))
    for segment in lane.segments:
        yield from _stored(lane, segment, is_newest=segment is lane.segments[-1])
    for stray in lane.strays:
        yield Finding(Kind.NOT_SEALED, str(lane.lane), f"{stray.segment}: a commit stands, and no manifest")
    for key in lane.unsealed:
        yield Finding(Kind.NOT_SEALED, str(lane.lane), f"{key}: data stands, and no manifest")


def _begins(lane: LaneBooks, first: Manifest) -> Iterator[Finding]:
    if first.previous is not None and first.previous.epoch:
        text = f"{first.name} follows {first.previous.name}, which has no manifest"
        yield Finding(Kind.CHAIN, str(lane.lane), text)
    elif first.first > _SEED + 1:
        text = f"{first.name} begins at {first.first} of epoch {first.epoch}: nothing tells of what stood before"
        yield Finding(Kind.CHAIN, str(lane.lane), text)


def _follows(before: Manifest, after: Manifest) -> Iterator[str]:
    previous = after.previous.name if after.previous else "nothing"
    if previous != before.name:
        yield f"{after.name} follows {previous}, and the manifest before it is {before.name}"
    if not _rises(before.name, after.name):
        yield f"{after.name} follows {before.name}: names must rise"
    if after.epoch == before.epoch and after.first != before.last + 1:
        what = "is in no manifest" if after.first > before.last else "is in two manifests"
        low, high = sorted((before.last + 1, after.first))
        yield f"stream {low}-{high - 1} of epoch {after.epoch}, between {before.name} and {after.name}, {what}"
    if after.epoch > before.epoch and after.first > _SEED + 1:
        yield f"{after.name} begins at {after.first} of epoch {after.epoch}: nothing tells of what stood before"
    if after.records and after.first_capture_ns <= before.last_capture_ns:
        yield f"{after.name} begins at {after.first_capture_ns}, {before.name} ends at {before.last_capture_ns}"


def _rises(before: str, after: str) -> bool:
    try:
        return SegmentName.parse(before) < SegmentName.parse(after)
    except ManifestError:
        return before < after


def _stored(lane: LaneBooks, segment: Segment, *, is_newest: bool) -> Iterator[Finding]:
    manifest = segment.manifest
    if segment.trouble:
        yield Finding(Kind.BYTES_DIFFER, str(lane.lane), f"{manifest.name}: {segment.trouble}")
    if segment.size_bytes is not None or segment.commit is not None or not manifest.records:
        return
    if not is_on_its_way(lane, segment, is_newest=is_newest):
        yield Finding(Kind.NOT_STORED, str(lane.lane), f"{manifest.name}: its data is gone and nothing was committed")


def is_on_its_way(lane: LaneBooks, segment: Segment, *, is_newest: bool) -> bool:
    """Return whether the data of a segment may still be entering storage: the manifest enters first."""
    if segment.size_bytes is not None or segment.commit is not None or not is_newest:
        return False
    return not lane.in_flight.is_known or lane.in_flight.sealing == segment.manifest.name
