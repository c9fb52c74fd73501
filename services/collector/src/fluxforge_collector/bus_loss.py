"""What a lane says of blocks that the bus acknowledged and lost: control records that name the seqs. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge_collector.blocks import FeedSlot
from fluxforge_collector.lane_log import Loss, LostSeqs

BUS_LOST: Final = "bus_lost"
_CONTROL: Final[FeedSlot] = (CONTROL_CHANNEL, None)


def feeds_concerned(loss: Loss, feeds: Sequence[FeedKey]) -> list[FeedKey]:
    """Return the feeds that are unsound behind a loss.

    All of them where control records are lost too, for those may have told of any, and where not all is known.
    """
    slots = {lost.slot for lost in loss.seqs}
    if not loss.is_exact or _CONTROL in slots:
        return list(feeds)
    return [feed for feed in feeds if (feed.channel, feed.symbol) in slots]


def controls_of(loss: Loss, feeds: Sequence[FeedKey], hole: str, named: Sequence[tuple[int, Control]]) -> list[Control]:
    """Return the records that name a loss, no more of them than records are lost.

    `named` are the lane's latest records that name seqs, with their own seqs: what was lost of them is told again.
    """
    keys: dict[FeedSlot, FeedKey] = {(feed.channel, feed.symbol): feed for feed in feeds}
    told = [_lost_seqs(lost, keys, loss, hole) for lost in loss.seqs]
    if not loss.is_exact:
        told.insert(0, lost_between(loss.from_ns, None, feeds, hole=hole))
    return [*told, *(replace(control, hole=hole) for control in _lost_names(loss, named))]


def lost_between(
    from_ns: int | None, to_ns: int | None, feeds: Sequence[FeedKey], *, hole: str | None = None
) -> Control:
    """Return the record of a loss of which only the time is known."""
    return Control(
        Event.DROPPED,
        hole=hole,
        feeds=tuple(feeds),
        reason=BUS_LOST,
        from_ns=from_ns,
        to_ns=to_ns,
        detail={"first_seq": None, "last_seq": None},
    )


def _lost_seqs(lost: LostSeqs, keys: dict[FeedSlot, FeedKey], loss: Loss, hole: str) -> Control:
    scope = keys.get(lost.slot)
    detail: dict[str, str | int | None] = {"first_seq": lost.first_seq, "last_seq": lost.last_seq}
    return Control(
        Event.DROPPED,
        hole=hole if scope else None,
        scope=scope,
        reason=BUS_LOST,
        from_ns=loss.from_ns,
        count=lost.count,
        detail=detail if scope else {"channel": CONTROL_CHANNEL, **detail},
    )


def _lost_names(loss: Loss, named: Sequence[tuple[int, Control]]) -> list[Control]:
    return [
        control
        for seq, control in named
        if any(lost.holds(_CONTROL, seq) for lost in loss.seqs)
        and not any(_covers(lost, control) for lost in loss.seqs)
    ]


def _covers(lost: LostSeqs, control: Control) -> bool:
    """Return whether what a record names lies among these seqs; behind the last of them it does not."""
    if control.scope is None:
        return True
    detail = control.detail or {}
    seqs = [detail[name] for name in ("seq", "first_seq", "last_seq") if name in detail]
    slot = (control.scope.channel, control.scope.symbol)
    return bool(seqs) and all(isinstance(seq, int) and lost.holds(slot, seq) for seq in seqs)
