"""Rejected messages: what is noted of one that could not be taken. Pure."""

import hashlib
from typing import Final

from fluxforge.domain.control import Event
from fluxforge_collector.source import Sink

_BYTES_KEPT: Final = 4096
_REASON_CHARS: Final = 500


def reject(sink: Sink, raw: bytes, why: str | Exception, *, conn: int) -> None:
    """Note that a message makes no record, and why."""
    reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
    sink.note(
        Event.REJECTED,
        reason=reason[:_REASON_CHARS],
        count=1,
        conn=conn,
        detail={
            "size_bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "text": raw[:_BYTES_KEPT].decode(errors="replace"),
        },
    )
