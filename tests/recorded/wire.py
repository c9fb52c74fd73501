"""Recordings as a detector sees them: frames and fetched books in the order of their arrival, and frames left out."""

import gzip
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard

from fluxforge_collector.continuity.catalog import detector_of
from fluxforge_collector.continuity.finding import Detector, Finding
from tests.recorded.recordings import recording

_BOOK_URL = re.compile(r"(?:depth|level2|order_book)\?.*?(?:symbol|currency_pair)=([A-Za-z0-9_-]+)")
_SNAPSHOT_OF = {
    "spot_btcusdt": "BTCUSDT",
    "usdm_ethusdt": "ETHUSDT",
    "cm_btcusd_perp": "BTCUSD_PERP",
    "cm_ethusd_perp": "ETHUSD_PERP",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A frame, or with `rest` the book of that symbol fetched by REST."""

    conn: str
    text: str | bytes
    rest: str | None = None

    @property
    def body(self) -> Any:
        return orjson.loads(self.text)


def wire(*names: str) -> list[Item]:
    """Return what a recording's client received, in order; REST books go to all connections."""
    if names[0].endswith(".gz"):
        return [item for name in names for item in _lines(name)]
    entries = []
    for name in names:
        with zstandard.ZstdDecompressor().stream_reader(recording(name).open("rb")) as reader:
            entries += [orjson.loads(line) for line in reader.read().splitlines()]
    items = []
    for entry in sorted(
        (e for e in entries if e["t"] in {"recv", "http"} and "data" in e), key=lambda e: float(e["ts"])
    ):
        if entry["t"] == "recv":
            items.append(Item(entry["conn"], entry["data"]))
        elif found := _BOOK_URL.search(entry["url"]):
            items.append(Item("", entry["data"], rest=found[1]))
    return items


def _lines(name: str) -> Iterable[Item]:
    symbol = _SNAPSHOT_OF[name.partition("/")[2].rsplit("_", 1)[0]]
    with gzip.open(recording(name)) as lines:
        for line in lines:
            text = line.partition(b" ")[2]
            yield Item("", text, rest=None if b'"stream"' in text[:12] else symbol)


def played(
    exchange: str, items: Iterable[Item], make: Callable[[str], Detector | None] = detector_of
) -> list[list[Finding]]:
    """Return the findings of each item, each connection followed by a detector of its own."""
    detectors: dict[str, Detector] = {}
    found: list[list[Finding]] = []
    for item in items:
        if item.rest is None and item.conn not in detectors:
            detector = make(exchange)
            assert detector is not None
            detectors[item.conn] = detector
        following = list(detectors.values()) if item.rest else [detectors[item.conn]]
        found.append(
            [f for d in following for f in (d.take_rest(item.rest, item.text) if item.rest else d.take(item.text))]
        )
    return found


def without(items: Sequence[Item], index: int) -> list[Item]:
    return [*items[:index], *items[index + 1 :]]
