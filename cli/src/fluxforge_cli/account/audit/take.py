"""Taking the books of a configuration: from the spools on this machine, the bus and the stores. Reads, never writes."""

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from fluxforge.domain.lane import Lane, Leg
from fluxforge.runtime.settings import Settings
from fluxforge_cli.account.audit.books import Books, InFlight, LaneBooks, Segment
from fluxforge_cli.account.audit.close import home
from fluxforge_cli.account.audit.flight import in_flight
from fluxforge_cli.account.audit.storage import Storage, StoredLane, pool, unknown_parts
from fluxforge_cli.stores import output_store, segment_store


def take(settings: Settings, *, lanes: Collection[Lane] = (), deep: bool = False) -> Books:
    """Return everything that is to be compared; `lanes`: of these alone, and of their rescue lanes."""
    storage = Storage(segment_store(settings), output_store(settings), settings.layout)
    standing = storage.parts_standing()  # before the commits that list them, see there
    flight = asyncio.run(in_flight(settings))
    stored = storage.lanes()
    wanted = {home(lane) for lane in lanes}
    all_lanes = sorted({*stored, *flight.lanes})
    chosen = [
        lane for lane in all_lanes if lane.leg is not Leg.MERGED and (not wanted or home(lane) in wanted)
    ]  # what legs were merged into has no segments: nothing was captured for it
    with pool() as workers:
        books = [
            _lane_books(
                storage,
                lane,
                stored.get(lane, StoredLane()),
                flight.lanes.get(lane, InFlight(is_known=flight.bus)),
                partial(storage.segments, deep=deep, workers=workers),
            )
            for lane in chosen
        ]
    others = [
        commit
        for lane in all_lanes
        for name in _unread(stored.get(lane, StoredLane()), is_chosen=lane in chosen)
        if (commit := storage.commit(lane, name))
    ]
    unknown = unknown_parts(standing, (segment for one in books for segment in one.segments), others)
    outputs = storage.outputs(unknown)
    spoken_of = {None, *map(str, chosen)}
    return Books(
        lanes=tuple(books),
        unknown_parts=tuple(key for key in unknown if key not in outputs),
        findings=tuple(finding for finding in storage.findings if finding.lane in spoken_of),
        bus=flight.bus,
        spool=flight.spool,
        keeps_books=settings.etl.channels.orderbook.keep_books,
    )


def _lane_books(
    storage: Storage,
    lane: Lane,
    stored: StoredLane,
    in_flight: InFlight,
    segments: Callable[[Lane, StoredLane], tuple[Segment, ...]],
) -> LaneBooks:
    known = {*stored.manifests, *stored.unreadable}
    strays = [storage.commit(lane, name) for name in sorted(stored.committed - known)]
    return LaneBooks(
        lane=lane,
        segments=segments(lane, stored),
        strays=tuple(stray for stray in strays if stray),
        unsealed=tuple(sorted(stored.files[name] for name in stored.files.keys() - known)),
        in_flight=in_flight,
    )


def _unread(stored: StoredLane, *, is_chosen: bool) -> Collection[str]:
    """Return the segments of a lane whose commits were not read with its segments."""
    return stored.committed - stored.manifests.keys() if is_chosen else stored.committed
