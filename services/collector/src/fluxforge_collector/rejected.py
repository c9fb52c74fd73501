"""Rejected messages: what is noted of one that could not be taken. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from fluxforge.domain.control import Event
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink

_BYTES_KEPT: Final = 4096
_REASON_CHARS: Final = 500


def reject(
    sink: Sink,
    raw: bytes,
    why: str | BaseException,
    *,
    conn: int,
    feeds: Sequence[LaneFeed] = (),
    where: Mapping[str, str] | None = None,
) -> None:
    """Note that a message makes no record, and why; `where` is told before it."""
    reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
    sink.note(
        Event.REJECTED,
        feeds,
        reason=reason[:_REASON_CHARS],
        count=1,
        conn=conn,
        detail={
            **(where or {}),
            "size_bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "text": raw[:_BYTES_KEPT].decode(errors="replace"),
        },
    )
