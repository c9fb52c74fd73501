"""Statuses: what each service says of itself once a second on `status.<service>.<instance>`, and last when it ends.

Unstored and best effort: people and `fluxforge up` look at them; nothing decides by them. Counts are since the start of
the process; times ns or ms UTC.
"""

from dataclasses import asdict, dataclass
from typing import Final, Self

import orjson

from fluxforge.domain.errors import ManifestError

STATUS_SUBJECT: Final = "status"


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """One feed of a collector. `last_price`: last trade, mid or ticker; `lag_ms`: capture minus exchange.

    `last_ns`: when its newest record was captured; 0: there is none yet. `hole_ns`: how long it was in any hole.
    """

    channel: str
    symbol: str
    records: int
    last_price: float | None
    lag_ms: int | None
    sound: bool
    last_ns: int = 0
    hole_ns: int = 0


@dataclass(frozen=True, slots=True)
class CollectorStatus:
    """A collector: `captured` records were given a seq, `stored` of them were acknowledged by the bus.

    `boot` is that of its records, so that they can be found again among those of other lives of the same lane. `held`:
    whether it has the lane's lease; `began_ns`: since when it captures (0: not yet); `spool_bytes`: of the disk.
    """

    lane: str
    at_ns: int
    ready: bool
    captured: int
    stored: int
    waiting: int
    spooled: int
    dropped: int
    connections: int
    feeds: tuple[FeedStatus, ...]
    boot: str = ""
    held: bool = False
    began_ns: int = 0
    spool_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One lane of a segmenter. `records` and `segments` were sealed by this process; `open_bytes` are not yet.

    `unsealed_ns`: when the oldest record not yet sealed was captured, at the earliest where that was not read yet; 0:
    there is none. `stream_bytes` of `stream_bytes_max` were in the stream when it was last looked at.
    """

    lane: str
    epoch: int
    stream_seq: int
    sealed_seq: int
    segments: int
    records: int
    sealed_bytes: int
    open_bytes: int
    unsealed_ns: int = 0
    stream_bytes: int = 0
    stream_bytes_max: int = 0


@dataclass(frozen=True, slots=True)
class SegmenterStatus:
    """A segmenter and its lanes."""

    at_ns: int
    ready: bool
    lanes: tuple[LaneStatus, ...]


@dataclass(frozen=True, slots=True)
class EtlStatus:
    """An ETL worker. `rows` by dataset, of segments this process committed; `backlog`: waiting for any worker.

    `oldest_ns`: when the oldest of the backlog was announced; 0: there is none.
    """

    at_ns: int
    ready: bool
    backlog: int
    segments: int
    records: int
    quarantined: int
    rows: dict[str, int]
    oldest_ns: int = 0

    @property
    def oldest_age_ns(self) -> int:
        """How long the oldest of the backlog has waited; 0: nothing waits."""
        return max(0, self.at_ns - self.oldest_ns) if self.oldest_ns else 0


@dataclass(frozen=True, slots=True)
class CompactorStatus:
    """A compactor. `partitions`: looked at in its last round; `merges` of `files` were carried out by this process.

    `failed`: partitions that could not be compacted, each time it was tried; `failing`: those of which the last try
    failed. `round_ns`: when the last round ended; 0: none did.
    """

    at_ns: int
    ready: bool
    partitions: int
    merges: int
    files: int
    failed: int
    failing: int = 0
    round_ns: int = 0


Status = CollectorStatus | SegmenterStatus | EtlStatus | CompactorStatus
_KINDS: Final[dict[str, type[Status]]] = {
    "collector": CollectorStatus,
    "segmenter": SegmenterStatus,
    "etl-worker": EtlStatus,
    "compactor": CompactorStatus,
}


def status_subject(service: str, instance: str) -> str:
    """Return the subject of a service process' status; `instance` is one subject token."""
    return f"{STATUS_SUBJECT}.{service}.{instance}"


def status_to_json(status: Status) -> bytes:
    """Return the payload of a status; a service prints it, too, as its last stdout line when it ends in order."""
    service = next(name for name, kind in _KINDS.items() if isinstance(status, kind))
    return orjson.dumps({"service": service, **asdict(status)})


@dataclass(frozen=True, slots=True)
class _Nested:
    """How the lists inside a status are read back."""

    field: str
    kind: type[FeedStatus | LaneStatus]


_NESTED: Final = {"collector": _Nested("feeds", FeedStatus), "segmenter": _Nested("lanes", LaneStatus)}


def status_from_json(text: bytes) -> Status:
    """Return the status of a payload.

    Raises:
        ManifestError: Not a status.
    """
    try:
        raw = orjson.loads(text)
        service = raw.pop("service")
        nested = _NESTED.get(service)
        if nested:
            raw[nested.field] = tuple(nested.kind(**item) for item in raw[nested.field])
        return _KINDS[service](**raw)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ManifestError("status", str(error)) from error


@dataclass(frozen=True, slots=True)
class Instance:
    """A service process by name, `<service>/<instance>`, read off a status subject."""

    service: str
    instance: str

    @classmethod
    def parse(cls, subject: str) -> Self:
        """Return the process a status subject speaks of."""
        _, service, instance = subject.split(".", 2)
        return cls(service, instance)
