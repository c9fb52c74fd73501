"""The tape: what went over the wire, item by item, and the control records between. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from fluxforge.domain.control import Control, FeedKey
from fluxforge.domain.errors import InputFileError, RecordError
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge_collector.replay.segments import Recorded
from fluxforge_collector.wire_records import WIRE_CHANNEL, Setup, WireItem, item_of


@dataclass(frozen=True, slots=True)
class Backfilled:
    """A record of what was fetched after a hole: it takes a seq and a capture time, and is not derived again."""

    feed: FeedKey


@dataclass(frozen=True, slots=True)
class Step:
    """An item of the wire, or what stands beside it. `at_ns`: capture_ns of its last record; `conn`: its connection."""

    boot: str
    at_ns: int
    conn: int
    item: WireItem | Control | Backfilled


def steps(records: Iterable[Recorded]) -> Iterator[Step]:
    """Yield what is on the wire, and control records, in their order; other records are passed over.

    Raises:
        InputFileError: No wire records, not from the beginning of a boot, or some are missing between.
    """
    boot, seq = "", 0
    pieces: list[dict[str, Any]] = []
    for record in records:
        envelope = record.envelope
        if envelope.channel != WIRE_CHANNEL:
            beside = _beside(record) if envelope.boot == boot else None
            if beside is not None:
                yield beside
            continue
        if envelope.boot != boot:
            boot, seq, pieces = envelope.boot, 0, []
        if envelope.seq != seq + 1:
            raise InputFileError(record.place, _missing(boot, seq + 1, envelope.seq - 1))
        seq = envelope.seq
        pieces.append(_read(record, orjson.loads, record.data))
        if "more" in pieces[-1]:
            continue
        item = _read(record, item_of, pieces)
        if seq == len(pieces) and not isinstance(item, Setup):
            raise InputFileError(record.place, f"boot {boot}: its first wire record does not say how it was set up")
        yield Step(boot, envelope.capture_ns, envelope.conn, item)
        pieces = []
    if not seq:
        raise InputFileError(
            "segments",
            "no wire records; they are captured with ingestion.capture_wire: true, and --to bus needs none",
        )


def boots(tape: Iterable[Step]) -> Iterator[Iterator[Step]]:
    """Yield the steps of each boot; one has to be used up before the next."""
    steps = iter(tape)
    ahead: list[Step] = list(_next(steps))

    def of_one() -> Iterator[Step]:
        boot = ahead[0].boot
        while ahead and ahead[0].boot == boot:
            yield ahead.pop()
            ahead.extend(_next(steps))

    while ahead:
        yield of_one()


def _next(steps: Iterator[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        return


class Group(NamedTuple):
    """An item of the wire, none at the beginning, and the control records that stand behind it."""

    step: Step | None
    controls: list[Step]


def groups(boot: Iterator[Step]) -> Iterator[Group]:
    """Yield the items of a boot behind its setup."""
    group = Group(None, [])
    for step in boot:
        if isinstance(step.item, Control | Backfilled):
            group.controls.append(step)
            continue
        yield group
        group = Group(step, [])
    yield group


class Ahead:
    """Groups that can be looked at before they are taken."""

    def __init__(self, groups: Iterator[Group]) -> None:
        self._groups = groups
        self._next = next(groups, None)

    def peek(self) -> Group | None:
        """Return the next one, which stays; None at the end."""
        return self._next

    def take(self) -> Group | None:
        """Return the next one, None at the end."""
        taken, self._next = self._next, next(self._groups, None)
        return taken


def _beside(record: Recorded) -> Step | None:
    """Return what a record that is not of the wire says to a replay, None if nothing."""
    envelope = record.envelope
    item: Control | Backfilled
    if envelope.channel == CONTROL_CHANNEL:
        item = _read(record, Control.from_json, record.data)
    elif envelope.source_kind is not None and envelope.symbol is not None:
        item = Backfilled(FeedKey(envelope.channel, envelope.symbol))
    else:
        return None
    return Step(envelope.boot, envelope.capture_ns, envelope.conn, item)


def _read(record: Recorded, read: Any, text: Any) -> Any:
    try:
        return read(text)
    except (RecordError, orjson.JSONDecodeError) as error:
        raise InputFileError(record.place, str(error)) from error


def _missing(boot: str, first: int, last: int) -> str:
    if first == 1:
        return f"boot {boot} begins in an earlier segment: its wire records up to {last} are missing; name it too"
    return f"wire records {first} to {last} of boot {boot} are missing: name every segment, in a row"
