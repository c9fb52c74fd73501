"""Captured: what the collectors said at their end. Pure."""

from collections.abc import Iterable

from fluxforge.domain.lane import Lane
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge.domain.status import CollectorStatus
from fluxforge_cli.account.balance import Key, merged


def captured(statuses: Iterable[CollectorStatus]) -> dict[Key, int]:
    """Return the records of each feed; what is in no feed are control records."""
    counts: list[tuple[Key, int]] = []
    for status in statuses:
        exchange = Lane.parse(status.lane).exchange
        counts += [((exchange, feed.channel, feed.symbol), feed.records) for feed in status.feeds]
        control = status.captured - sum(feed.records for feed in status.feeds)
        counts.append(((exchange, CONTROL_CHANNEL, None), control))
    return {key: count for key, count in merged(counts).items() if count}


def dropped(statuses: Iterable[CollectorStatus]) -> dict[str, int]:
    """Return the records that were given a seq and never stored, by exchange; control records name them."""
    total: dict[str, int] = {}
    for status in statuses:
        exchange = Lane.parse(status.lane).exchange
        total[exchange] = total.get(exchange, 0) + status.dropped
    return total
