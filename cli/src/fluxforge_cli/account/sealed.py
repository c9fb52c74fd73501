"""Sealed: what stands in storage, by its manifests and commit records. Reads, never writes."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.layout import MANIFEST_SUFFIX, Layout
from fluxforge.domain.segment import Manifest
from fluxforge.ports.store import Store
from fluxforge_cli.account.balance import Key, merged


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A sealed segment; `commit` is the newest commit record, or None while it is not processed.

    `has_data`: its records still stand in storage. The manifest stays when they are deleted after processing.
    """

    manifest: Manifest
    commit: CommitRecord | None
    placed: bool
    has_data: bool


def manifests(store: Store, layout: Layout) -> Iterator[Manifest]:
    """Yield every manifest in storage, by lane and name.

    Raises:
        ManifestError: One cannot be read.
    """
    for key in store.keys(layout.ready_prefix()):
        if key.endswith(MANIFEST_SUFFIX):
            yield Manifest.from_json(store.read(key), what=key)


def segments(store: Store, layout: Layout) -> list[SealedSegment]:
    """Return every sealed segment with what became of it."""
    return [_segment(store, layout, manifest) for manifest in manifests(store, layout)]


def _segment(store: Store, layout: Layout, manifest: Manifest) -> SealedSegment:
    commit = None
    attempt = 1
    while store.size(key := layout.commit_key(manifest.lane, manifest.name, attempt)) is not None:
        commit = CommitRecord.from_json(store.read(key), what=key)
        attempt += 1
    placed = store.size(layout.placed_key(manifest.lane, manifest.name)) is not None
    has_data = store.size(layout.segment_key(manifest.lane, manifest.file)) is not None
    return SealedSegment(manifest, commit, placed, has_data)


def sealed(found: Iterable[SealedSegment], boots: Collection[str]) -> dict[Key, int]:
    """Return the sealed records of each feed of these boots."""
    return merged(
        ((segment.manifest.exchange, feed.channel, feed.symbol), feed.count)
        for segment in found
        for feed in segment.manifest.feeds
        if feed.boot in boots
    )


def quarantined(found: Iterable[SealedSegment], boots: Collection[str]) -> dict[str, int]:
    """Return the lines put aside, by exchange, in the segments that hold these boots."""
    total: dict[str, int] = {}
    for segment in found:
        if segment.commit and any(feed.boot in boots for feed in segment.manifest.feeds):
            exchange = segment.manifest.exchange
            total[exchange] = total.get(exchange, 0) + segment.commit.quarantined
    return total
