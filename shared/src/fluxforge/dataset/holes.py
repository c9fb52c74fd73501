"""Holes: when feeds were not captured whole, folded of what `coverage` tells of them and of their lanes. Pure.

All that is told of one hole is one hole. One that nobody closed ends when its feed is next sound, in its own boot if it
is once more. No boot is heard of a feed once another has started on it: what a collector says that was succeeded
concerns nobody.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import polars as pl

from fluxforge.domain.control import CRASH, HOLE_WORDS, LOST, SOUND_WORDS, Event

ANY: Final = "*"
"""Channel and symbol of what `coverage` says of a whole lane."""
_OF_THE_ETL: Final = frozenset({CRASH, LOST})
_FEED: Final = ("source", "exchange", "channel", "symbol")


class FeedName(NamedTuple):
    """A feed of a source; `symbol` is the id."""

    source: str
    exchange: str
    channel: str
    symbol: str


class Word(NamedTuple):
    """What is told of a feed by one event of one hole, its repeats as one. ns UTC; `to_ns` None: open.

    `boot` of `lost` is a stream or a segment.
    """

    boot: str
    hole: str
    event: str
    from_ns: int
    to_ns: int | None


class Hole(NamedTuple):
    """A time in which a feed was not whole, by the event that opened it. ns UTC; `to_ns` None: nobody closed it."""

    from_ns: int
    to_ns: int | None
    event: str


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one feed (`own`, never empty) and of its lane."""

    own: Sequence[Word]
    of_lane: Sequence[Word] = ()

    @property
    def since_ns(self) -> int:
        """Since when the feed is known: a crash that comes before its first word may have been of others."""
        return min(word.from_ns for word in self._first_hand() or self.own)

    @property
    def last_ns(self) -> int:
        """The newest moment that is told of by the last boot, or by the ETL."""
        boot = self.boot
        words = [word for word in self.own if word.boot == boot or word.event in _OF_THE_ETL]
        return max(word.from_ns if word.to_ns is None else max(word.from_ns, word.to_ns) for word in words)

    @property
    def boot(self) -> str | None:
        """The boot that started last on the feed, else the one that spoke last; None: none did."""
        said = self._first_hand()
        starts = [word for word in said if word.event == Event.STARTED]
        return max(starts or said, key=lambda word: word.from_ns).boot if said else None

    def holes(self) -> list[Hole]:
        """Return the holes of the feed by their begin; they may overlap."""
        words = [*self.own, *self.of_lane]
        starts = sorted((word.from_ns, word.boot) for word in words if word.event == Event.STARTED)
        sound: dict[str, list[int]] = {}
        for word in words:
            if word.event in SOUND_WORDS:
                sound.setdefault(word.boot, []).append(word.from_ns if word.to_ns is None else word.to_ns)
        every = sorted(at for those in sound.values() for at in those)
        found = []
        for boot, hole in _folded(words):
            end_ns = hole.to_ns
            if end_ns is None:
                end_ns = _next(sorted(sound.get(boot, ())), hole.from_ns) or _next(every, hole.from_ns)
            succeeded_ns = None if hole.event in _OF_THE_ETL else _succeeded_ns(boot, starts)
            if succeeded_ns is not None:
                end_ns = succeeded_ns if end_ns is None else min(end_ns, succeeded_ns)
            if end_ns is None or hole.from_ns <= end_ns:
                found.append(hole._replace(to_ns=end_ns))
        return sorted(found, key=lambda hole: hole.from_ns)

    def _first_hand(self) -> list[Word]:
        return [word for word in self.own if word.event not in _OF_THE_ETL]


def told_of(coverage: pl.LazyFrame) -> dict[FeedName, Told]:
    """Return what rows of `coverage`, with their `source`, tell of each feed of theirs.

    What is said of a lane is said of every feed that the same boot speaks of; where it speaks of none, of every feed of
    the exchange.
    """
    own: dict[FeedName, list[Word]] = {}
    of_lanes: dict[tuple[str, str], list[Word]] = {}
    for *feed, boot, hole, event, from_ns, to_ns in _rows(coverage):
        name, word = FeedName(*feed), Word(boot, hole, event, from_ns, to_ns)
        if name[2:] == (ANY, ANY):  # a feed of all markets, such as the wire, is no lane
            of_lanes.setdefault((name.source, name.exchange), []).append(word)
        else:
            own.setdefault(name, []).append(word)
    boots: dict[tuple[str, str], set[str]] = {}
    for name, words in own.items():
        boots.setdefault((name.source, name.exchange), set()).update(word.boot for word in words)
    return {
        name: Told(words, _concerning(words, of_lanes.get(name[:2], ()), boots[name[:2]]))
        for name, words in own.items()
    }


def joined(holes: Iterable[Hole], first_ns: int, last_ns: int) -> list[tuple[int, int]]:
    """Return the times between two that lie in any hole, those that touch as one; a hole still open reaches to it."""
    found: list[tuple[int, int]] = []
    for from_ns, to_ns in sorted(
        (max(hole.from_ns, first_ns), last_ns if hole.to_ns is None else min(hole.to_ns, last_ns)) for hole in holes
    ):
        if from_ns >= to_ns:
            continue
        if found and from_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], to_ns))
        else:
            found.append((from_ns, to_ns))
    return found


def _rows(coverage: pl.LazyFrame) -> Iterator[tuple[Any, ...]]:
    """Yield the columns of a feed and of a word; what is repeated of an open hole is one."""
    return (
        coverage.with_columns(pl.col("exchange", "symbol").cast(pl.String))
        .filter(pl.col("event").is_in(sorted(HOLE_WORDS | SOUND_WORDS)), pl.col("channel") != "control")
        .with_columns(hole=pl.coalesce("hole", pl.format("{} {} {}", "boot", "event", "seq")))
        .group_by(*_FEED, "boot", "hole", "event")
        .agg(pl.col("from_ns").min(), pl.col("to_ns").max())
        .sort(*_FEED, "from_ns", "hole", "event")
        .collect(engine="streaming")
        .iter_rows()
    )


def _concerning(own: Iterable[Word], of_lanes: Iterable[Word], known: Collection[str]) -> list[Word]:
    boots = {word.boot for word in own}
    return [word for word in of_lanes if word.boot in boots or word.boot not in known]


def _folded(words: Iterable[Word]) -> Iterator[tuple[str, Hole]]:
    """Yield boot and hole of all that is told under one id; a crash may bear that of the hole that follows it.

    A hole of which only the end is told was one all the same: a gap, for all that anybody knows.
    """
    alike: dict[tuple[str, bool], list[Word]] = {}
    for word in words:
        alike.setdefault((word.hole, word.event in _OF_THE_ETL), []).append(word)
    for (name, _), those in alike.items():
        opening = [word for word in those if word.event in HOLE_WORDS]
        ends = [word.to_ns for word in those if word.to_ns is not None]
        first = min(opening or those, key=lambda word: word.from_ns)
        if opening:
            yield first.boot, Hole(min(word.from_ns for word in those), max(ends, default=None), first.event)
        elif ends and first.from_ns < max(ends) and (name, True) not in alike:
            yield first.boot, Hole(first.from_ns, max(ends), Event.GAP.value)


def _succeeded_ns(boot: str, starts: Sequence[tuple[int, str]]) -> int | None:
    """Return when another boot started on a feed after this one; None: none did, or nobody knows when this one did."""
    after = next((number for number, (_, one) in enumerate(starts) if one == boot), len(starts))
    return next((at for at, one in starts[after:] if one != boot), None)


def _next(sorted_ns: Sequence[int], after_ns: int) -> int | None:
    position = bisect_right(sorted_ns, after_ns)
    return sorted_ns[position] if position < len(sorted_ns) else None
