"""Processed: what stands in Parquet of a run, as the audit counts it: of every channel, by parts and commits."""

from collections.abc import Collection, Iterable

from fluxforge.domain.lane import Lane
from fluxforge_cli.account.audit.books import InFlight, LaneBooks
from fluxforge_cli.account.audit.processed import processed as account_of
from fluxforge_cli.account.audit.storage import Storage, StoredLane, pool
from fluxforge_cli.account.balance import Key, merged
from fluxforge_cli.account.sealed import SealedSegment


def processed(
    storage: Storage, found: Iterable[SealedSegment], boots: Collection[str], *, keeps_books: bool
) -> dict[Key, int]:
    """Return the records of these boots that stand in Parquet, by feed; of segments without them nothing is read.

    A record that is an empty list, and so has no row, counts where all parts that might hold it are sound; a control
    record where it is committed.
    """
    lanes: dict[Lane, StoredLane] = {}
    for manifest in (segment.manifest for segment in found):
        if any(feed.boot in boots for feed in manifest.feeds):
            lanes.setdefault(manifest.lane, StoredLane()).manifests[manifest.name] = manifest
    counts: list[tuple[Key, int]] = []
    with pool() as workers:
        for lane, stored in lanes.items():
            standing = storage.segments(lane, stored, deep=False, workers=workers)
            books = LaneBooks(lane, standing, strays=(), unsealed=(), in_flight=InFlight())
            counts += [
                ((lane.exchange, feed.channel, feed.symbol), count)
                for segment in standing
                for feed, count in account_of(books, segment, {}, keeps_books=keeps_books).of_feeds.items()
                if feed.boot in boots
            ]
    return merged(counts)
