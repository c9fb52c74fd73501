"""Missing: which of the trades and candles that were fetched stand in a hole, by what was captured around it. Pure.

A fetched list is trusted only where it joins the stream: it must hold the first trade behind the hole, by the venue's
own id. Some venues number what they answer by REST otherwise than what they send; nothing of such a list is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Missing:
    """What was missing, oldest first. `is_whole`: the list joins what was captured before the hole and behind it."""

    items: Sequence[Any]
    is_whole: bool


def missing_trades(
    fetched: Sequence[Mapping[str, Any]], *, before: bytes, first: bytes, from_ms: int
) -> Missing | None:
    """Return the trades between two records; None where the list does not join the second.

    `before` may be empty: then trades count from `from_ms` on, ms UTC.
    """
    ahead, behind = _ids(before), _ids(first)
    ordered = sorted((trade for trade in fetched if trade.get("id") is not None), key=lambda trade: trade["timestamp"])
    ids = [str(trade["id"]) for trade in ordered]
    end = next((index for index, id_ in enumerate(ids) if id_ in behind), None)
    if end is None:
        return None
    joins = [index for index, id_ in enumerate(ids[:end]) if id_ in ahead]
    if joins:
        return Missing(ordered[joins[-1] + 1 : end], is_whole=True)
    # A hole may follow its last trade at once, and a list may begin behind it.
    is_whole = bool(ordered[:end]) and ordered[0]["timestamp"] < from_ms
    return Missing([trade for trade in ordered[:end] if trade["timestamp"] >= from_ms], is_whole=is_whole)


def missing_candles(fetched: Sequence[Sequence[float]], *, before: bytes, first: bytes, from_ms: int) -> Missing:
    """Return the candles from the last one before a hole, which may have gone on in it, to the first one behind it."""
    begin = orjson.loads(before)[-1][0] if before else from_ms
    end = orjson.loads(first)[0][0]
    ordered = sorted(fetched, key=itemgetter(0))
    rows = [row for row in ordered if begin <= row[0] < end]
    return Missing(rows, is_whole=bool(ordered) and ordered[0][0] <= begin and ordered[-1][0] >= end)


def _ids(data: bytes) -> frozenset[str]:
    return frozenset(str(trade["id"]) for trade in orjson.loads(data)) if data else frozenset()
