"""One instrument of a lane: its valid updates, its trades that count, and what is known of both feeds at an instant."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.unit.fluxforge_etl_worker.oracle.lane import Lane, Level, Stretch, Trade, Update, between, touches


@dataclass
class Instrument:
    lane: Lane
    symbol: str
    updates: list[Update] = field(init=False)
    times: list[int] = field(init=False)
    trades: list[Trade] = field(init=False)
    trade_times: list[int] = field(init=False)
    unsound: list[Stretch] = field(init=False)
    trades_unsound: list[Stretch] = field(init=False)
    trades_begin: int | None = field(init=False)
    trades_recovered: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.unsound = self.lane.stretches(self.book_feed)
        self.trades_unsound = self.lane.stretches(self.trades_feed)
        self.updates = [update for update in self.lane.updates(self.symbol) if update.fault is None]
        self.times = [update.at for update in self.updates]
        counting = [row for row in trade_rows(self.lane) if row["symbol"] == self.symbol and counts(row)]
        self.trades = [Trade(row["capture_ns"], row["side"], row["price"], row["amount"]) for row in counting]
        self.trade_times = [trade.at for trade in self.trades]
        recorded = [record["capture_ns"] for record in self.lane.of("trades") if record["symbol"] == self.symbol]
        self.trades_begin = recorded[0] if recorded else None
        told = [(r["capture_ns"], r["data"]["event"]) for r in self.lane.concerning(self.trades_feed)]
        self.trades_recovered = [at for at, event in told if event == "recovered"]
        for before, now in pairwise(self.updates):
            self._relate(before, now)

    @property
    def book_feed(self) -> tuple[str, str]:
        return "orderbook", self.symbol

    @property
    def trades_feed(self) -> tuple[str, str]:
        return "trades", self.symbol

    def window(self, after: int, until: int) -> Sequence[Update]:
        return between(self.times, self.updates, after, until)

    def as_of(self, at: int) -> Update | None:
        """Return the last valid update in `(at - tolerance, at]`."""
        found = self.window(at - self.lane.options.tolerance_ns, at)
        return found[-1] if found else None

    def is_observed(self, after: int, until: int) -> bool:
        return self.as_of(after) is not None and not touches(self.unsound, after + 1, until + 1)

    def trades_known_at(self, at: int) -> bool:
        """Return whether the trades feed had a record by then, or a `recovered` not longer ago than the tolerance."""
        recovered = between(self.trades_recovered, self.trades_recovered, at - self.lane.options.tolerance_ns, at)
        return (self.trades_begin is not None and self.trades_begin <= at) or bool(recovered)

    def trades_are_observed(self, after: int, until: int) -> bool:
        if not self.is_observed(after, until) or not self.trades_known_at(after):
            return False
        return not touches(self.trades_unsound, after + 1, until + 1)

    def _relate(self, before: Update, now: Update) -> None:
        """Fill in what an update adds to the one before, where that is known."""
        if now.at - before.at > self.lane.options.tolerance_ns or touches(self.unsound, before.at + 1, now.at + 1):
            return
        now.r = math.log(now.mid / before.mid)
        terms = flow_terms(before.bids[0], before.asks[0], now.bids[0], now.asks[0])
        now.e, now.e_terms = math.fsum(terms), math.fsum(map(abs, terms))
        weighted = []
        for i in range(5):
            if i < min(len(before.bids), len(before.asks), len(now.bids), len(now.asks)):
                terms = flow_terms(before.bids[i], before.asks[i], now.bids[i], now.asks[i])
                weighted += [math.exp(-i / 2) * term for term in terms]
        now.mlofi, now.mlofi_terms = math.fsum(weighted), math.fsum(map(abs, weighted))


def flow_terms(bid0: Level, ask0: Level, bid: Level, ask: Level) -> list[float]:
    """Return the four terms of the order flow imbalance of one level."""
    (pb0, qb0), (pa0, qa0), (pb, qb), (pa, qa) = bid0, ask0, bid, ask
    return [
        qb if pb >= pb0 else 0.0,
        -qb0 if pb <= pb0 else 0.0,
        -qa if pa <= pa0 else 0.0,
        qa0 if pa >= pa0 else 0.0,
    ]


def counts(row: dict[str, Any]) -> bool:
    return not row["resent"] and row["source_kind"] is None


def taker_side(exchange: str, side: str | None) -> str | None:
    """Coinbase tells the side of the order that stood in its book."""
    if exchange != "coinbase" or side is None:
        return side
    return "sell" if side == "buy" else "buy"


def trade_rows(lane: Lane) -> list[dict[str, Any]]:
    """Return every trade of the lane, with whether the venue had sent it before."""
    rows = []
    lookback_ns = lane.options.lookback_ns
    seen: dict[tuple[str, str], int] = {}
    for record in lane.of("trades"):
        at = record["capture_ns"]
        for idx, trade in enumerate(record["data"]):
            trade_id = None if trade["id"] is None else str(trade["id"])
            resent = bool(record.get("snapshot"))
            if trade_id is not None:
                before = seen.get((record["symbol"], trade_id))
                resent = resent or (before is not None and before > at - lookback_ns)
                seen[record["symbol"], trade_id] = at
            rows.append(
                {
                    "exchange": record["exchange"],
                    "symbol": record["symbol"],
                    "market": record["market"],
                    "ts_ns": at // 1000 * 1000,
                    "capture_ns": at,
                    "exchange_ms": trade["timestamp"],
                    "boot": record["boot"],
                    "seq": record["seq"],
                    "idx": idx,
                    "trade_id": trade_id,
                    "side": taker_side(record["exchange"], trade["side"]),
                    "price": float(trade["price"]),
                    "amount": float(trade["amount"]),
                    "cost": None if trade["cost"] is None else float(trade["cost"]),
                    "taker_or_maker": trade["takerOrMaker"],
                    "resent": resent,
                    "source_kind": record.get("source_kind"),
                }
            )
    return rows
