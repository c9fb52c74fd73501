"""The balance of a run: what each place counted of each feed, and where they differ. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fluxforge.domain.record import CONTROL_CHANNEL

Key = tuple[str, str, str | None]
"""(exchange, channel, symbol); control records have no symbol."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the places counted, by feed. A channel in `unprocessed` is disabled: nothing of it becomes rows.

    `quarantined` and `dropped` are by exchange: records that became no row, and seqs that were never stored, both named
    elsewhere. `unknown` names what could not be counted, as a sentence each.
    """

    captured: Mapping[Key, int]
    sealed: Mapping[Key, int]
    processed: Mapping[Key, int]
    quarantined: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    unprocessed: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One channel of one exchange; `processed` is None for a channel that is disabled."""

    exchange: str
    channel: str
    captured: int
    sealed: int
    processed: int | None

    @property
    def balanced(self) -> bool:
        """Whether all places agree without a word of explanation."""
        return self.captured == self.sealed and self.processed in {None, self.sealed}


def lines(counts: Counts) -> list[Line]:
    """Return the balance by exchange and channel, control records last."""
    channels = {(exchange, channel) for exchange, channel, _ in (*counts.captured, *counts.sealed, *counts.processed)}
    return [
        Line(
            exchange,
            channel,
            _sum(counts.captured, exchange, channel),
            _sum(counts.sealed, exchange, channel),
            None if channel in counts.unprocessed else _sum(counts.processed, exchange, channel),
        )
        for exchange, channel in sorted(channels, key=lambda pair: (pair[0], pair[1] == CONTROL_CHANNEL, pair[1]))
    ]


def differences(counts: Counts) -> list[str]:
    """Return a sentence for each feed whose counts differ without being explained; empty means the balance closes.

    A difference of an exchange is explained when quarantined lines, or dropped records, add up to exactly it.
    """
    return [
        *_stage(counts.captured, counts.sealed, counts.dropped, "captured", "sealed"),
        *_stage(
            {key: count for key, count in counts.sealed.items() if key[1] not in counts.unprocessed},
            {key: count for key, count in counts.processed.items() if key[1] not in counts.unprocessed},
            counts.quarantined,
            "sealed",
            "processed",
        ),
    ]


def _stage(
    before: Mapping[Key, int], after: Mapping[Key, int], explained: Mapping[str, int], what: str, then: str
) -> Iterator[str]:
    missing: defaultdict[str, dict[Key, int]] = defaultdict(dict)
    for key in {**before, **after}:
        lost = before.get(key, 0) - after.get(key, 0)
        if lost:
            missing[key[0]][key] = lost
    for exchange in sorted({*missing, *(name for name, count in explained.items() if count)}):
        feeds = missing[exchange]
        if sum(feeds.values()) == explained.get(exchange, 0) and all(lost > 0 for lost in feeds.values()):
            continue
        for key in sorted(feeds, key=str):
            yield f"{_name(key)}: {what} {before.get(key, 0):,}, {then} {after.get(key, 0):,}"
        if explained.get(exchange):
            yield f"{exchange}: {explained[exchange]:,} records are named as not {then}, {sum(feeds.values()):,} lack"


def _name(key: Key) -> str:
    exchange, channel, symbol = key
    return " ".join(part for part in (exchange, symbol, channel) if part)


def _sum(counts: Mapping[Key, int], exchange: str, channel: str) -> int:
    return sum(count for key, count in counts.items() if key[:2] == (exchange, channel))


def merged(counts: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    """Return the sums of counts that may name a feed more than once."""
    total: dict[Key, int] = {}
    for key, count in counts:
        total[key] = total.get(key, 0) + count
    return total
