"""Listing: which segments the store knows, by their manifests, by their data, or by both."""

import re
from dataclasses import dataclass
from typing import Final

from fluxforge.domain.errors import NameRefusedError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import MANIFEST_SUFFIX, Layout, segment_of_file
from fluxforge.ports.store import Store

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,120}")
# Beside the keys of segment `x` stand `x.r2.json`, `x.placed`, `x.manifest.json` and `x.tail.arrow`.
_OURS: Final = re.compile(r"(.+)\.(r\d+|placed|manifest|tail)")


@dataclass(frozen=True, slots=True)
class Listed:
    """A segment as it stands. `file`: its data, None where there is none, deleted or not there yet.

    `has_manifest` false: a file that a person or another recorder put there, which nobody has adopted yet.
    """

    lane: Lane
    name: str
    file: str | None
    has_manifest: bool


def listed(raw: Store, layout: Layout) -> dict[Lane, list[Listed]]:
    """Return the segments of each lane in name order.

    Raises:
        NameRefusedError: A folder is no lane's, or a file's name may not stand in a part's name.
    """
    files: dict[Lane, dict[str, str]] = {}
    manifests: dict[Lane, set[str]] = {}
    prefix = layout.ready_prefix()
    for key in raw.keys(prefix):
        folder, _, file = key[len(prefix) + 1 :].rpartition("/")
        segment = segment_of_file(file)
        if segment is not None:
            files.setdefault(_lane_of_folder(folder), {})[checked_name(segment)] = file
        elif file.endswith(MANIFEST_SUFFIX):
            manifests.setdefault(_lane_of_folder(folder), set()).add(checked_name(file.removesuffix(MANIFEST_SUFFIX)))
    found = {}
    for lane in sorted({*files, *manifests}):
        data, sealed = files.get(lane, {}), manifests.get(lane, set())
        found[lane] = [Listed(lane, name, data.get(name), name in sealed) for name in sorted({*data, *sealed})]
    return found


def is_lost(segment: Listed, newest: Listed) -> bool:
    """Return whether data that should stand beside a manifest is gone; `newest` is the last segment of the lane.

    A manifest enters before its segment: of the newest segment alone the data may be on its way.
    """
    return segment.file is None and segment != newest


def checked_name(segment: str) -> str:
    """Return the name of a segment.

    Raises:
        NameRefusedError: It may not stand in a key or in a part's name, or keys of another segment would be its own.
    """
    if not _NAME.fullmatch(segment):
        raise NameRefusedError("segment", segment, "letters, digits, '_', '-' and '.' only")
    ours = _OURS.fullmatch(segment)
    if ours is not None:
        stem, suffix = ours.groups()
        reason = (
            f"what is kept of {stem!r} ends in '.{suffix}' too; rename its files to '{stem}_{suffix}' with their suffix"
        )
        raise NameRefusedError("segment", segment, reason)
    return segment


def _lane_of_folder(folder: str) -> Lane:
    source, _, rest = folder.partition("/")
    exchange, dash, shard = rest.partition("-")
    if not dash:
        raise NameRefusedError("folder", folder, "expected <source>/<exchange>-<shard>, such as ccxt/binance-0of1")
    return Lane(source, exchange, shard)
