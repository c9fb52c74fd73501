"""Tiny parts in place of Parquet: what a segment becomes when only commits, places and marks are of interest."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from unittest import mock

from fluxforge.domain.lane import Lane
from fluxforge.domain.record import read_envelope
from fluxforge.domain.segment import Manifest
from fluxforge_etl_worker import attempts, consume, work
from fluxforge_etl_worker.parts import PartFile
from fluxforge_etl_worker.pipeline import Forged, Neighbours
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.work import Outcome, Worker


def tiny(
    manifest: Manifest, _options: EtlOptions, chunks: Callable[[], Iterable[bytes]], _neighbours: Neighbours
) -> Forged:
    """Return a part for each channel of a segment: its lines as they are."""
    lines = b"".join(chunks()).splitlines(keepends=True)
    bodies: dict[str, list[bytes]] = {}
    for line in lines:
        bodies.setdefault(read_envelope(line).channel, []).append(line)
    parts = tuple(
        PartFile("trades", f"channel={channel}", len(own), b"".join(own)) for channel, own in sorted(bodies.items())
    )
    return Forged(parts=parts, bad=(), records=len(lines), feeds=manifest.feeds, disabled=(), resent=0)


def alone(worker: Worker, lane: Lane, segment: str) -> Outcome:
    """Process a segment where everything else is."""
    return worker.process(lane, segment)


@contextlib.contextmanager
def tiny_parts() -> Iterator[None]:
    """Let workers make tiny parts."""
    with (
        mock.patch.object(work, "forge", tiny),
        mock.patch.object(attempts, "fitting", lambda part, *_: part),
        mock.patch.object(consume, "process_alone", alone),
    ):
        yield
