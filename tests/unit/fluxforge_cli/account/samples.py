"""Manifests made up for tests."""

from fluxforge.domain.segment import FeedSeqs, Manifest


def manifest(name: str, *feeds: FeedSeqs) -> Manifest:
    """Return the manifest of a segment of ccxt-binance-0of1 with these feeds."""
    return Manifest(
        name=name,
        file=f"{name}.ndjson",
        source="ccxt",
        exchange="binance",
        shard="0of1",
        epoch=1,
        first=1,
        last=2,
        records=sum(one.count for one in feeds),
        size_bytes=100,
        sha256="00",
        first_capture_ns=1,
        last_capture_ns=2,
        feeds=feeds,
        last_seqs=(),
        holes=(),
        last_block="b:2",
        previous=None,
        final=False,
        created_ns=3,
        software="test",
    )
