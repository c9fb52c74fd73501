"""Venue: the port that every wire protocol fills, and the floor on which its markets stand.

A venue is pure: it turns requests and market steps into frames and replies. Sockets, clocks and tasks are the server's.
Adding a venue is one module that fills `Venue` and `Dialogue`, and one line in `catalog`.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Protocol

from fluxforge_simulator.frame import Feed, Frame, Reply, Request
from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.market import Market, Step


class Floor:
    """The markets of one exchange: each opens when it is first asked for, and then runs on."""

    def __init__(
        self,
        exchange: str,
        instruments: Iterable[Instrument],
        *,
        seed: int,
        trade_share: float,
        opened: Callable[[Market], None],
    ) -> None:
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self._exchange = exchange
        self._seed = seed
        self._trade_share = trade_share
        self._opened = opened
        self._markets: dict[str, Market] = {}

    def market(self, symbol: str) -> Market:
        """Return the market of a listed symbol, opening it where needed."""
        market = self._markets.get(symbol)
        if market is None:
            seed = f"{self._seed}/{self._exchange}/{symbol}"
            market = Market(self.instruments[symbol], seed=seed, trade_share=self._trade_share)
            self._markets[symbol] = market
            self._opened(market)
        return market


class Refusal(StrEnum):
    """Why a venue refuses a subscription."""

    UNKNOWN = "unknown"
    """What is asked for is not there."""
    BUSY = "busy"
    """The client asks too often."""


class Dialogue(Protocol):
    """One client's conversation with a venue, on one connection."""

    feeds: set[Feed]

    def greet(self, now_ns: int) -> list[Frame]:
        """Return what the venue says before it is spoken to."""
        ...

    def hear(self, text: str, now_ns: int) -> list[Frame]:
        """Answer one client message; subscriptions made by it are in `feeds` afterwards."""
        ...

    def refuse(self, text: str, why: Refusal) -> list[Frame]:
        """Answer a subscription with the venue's error, subscribing nothing; empty for any other message."""
        ...

    def tell(self, step: Step, now_ns: int) -> list[Frame]:
        """Return the frames that a market step means to this client."""
        ...

    def beat(self, now_ns: int) -> list[Frame]:
        """Return what is due by the clock alone; called once a second."""
        ...

    def snapshot_answered(self, symbol: str, now_ns: int) -> None:
        """Take note that the venue's REST book of a symbol has just been answered, to whomever."""
        ...


class Venue(Protocol):
    """One exchange's wire protocol."""

    @property
    def exchange(self) -> str:
        """The ccxt id."""
        ...

    @property
    def domains(self) -> tuple[str, ...]:
        """What the names of its hosts end in."""
        ...

    @property
    def strange(self) -> bytes:
        """A frame of a market that is not listed, without the fields that were promised."""
        ...

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What is listed."""
        ...

    def rest(self, request: Request, floor: Floor, now_ns: int) -> Reply | None:
        """Answer a REST request; None where the venue has no such resource."""
        ...

    def dialogue(self, floor: Floor, refused: frozenset[str]) -> Dialogue:
        """Begin a conversation. Subscriptions to the symbols in `refused` are answered with the venue's error."""
        ...
