"""Settings of Interactive Brokers: where TWS or the Gateway listens, and what is captured of which contracts."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from fluxforge.runtime.settings.sources import Group
from fluxforge.runtime.settings.units import Count

_TEXT: Final = re.compile(r"(?P<symbol>[^/:]+)/(?P<currency>[A-Z]+):(?P<exchange>[A-Z0-9.]+)")
_KINDS: Final = {"IDEALPRO": "CASH", "PAXOS": "CRYPTO", "ZEROHASH": "CRYPTO"}
"""What a contract in one text is, by its exchange; on any other a stock."""

Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A text that YAML may have read as a number: `202409`."""


class IbkrChannel(StrEnum):
    """What can be captured of a contract; the keys of `channels`, and the channels of its records."""

    TICKER = "ticker"
    BIDSASKS = "bidsasks"
    ORDERBOOK = "orderbook"
    TRADES = "trades"
    BARS = "ohlcv_5s"


class ContractSettings(Group):
    """One contract, by as much of it as tells it from all others. `expiry` is YYYYMM or YYYYMMDD."""

    sec_type: Literal["STK", "FUT", "CONTFUT", "OPT", "FOP", "CASH", "CRYPTO", "IND", "CFD", "BOND", "CMDTY", "WAR"] = (
        "STK"
    )
    symbol: Text = ""
    local_symbol: Text = ""
    exchange: str = "SMART"
    primary_exchange: str = ""
    currency: str = ""
    expiry: Text = ""
    strike: float = 0.0
    right: Literal["", "C", "P"] = ""
    multiplier: Text = ""
    trading_class: str = ""
    con_id: int = 0


def _contract(value: Any) -> Any:
    """Return the keys of a contract that is given as `AAPL/USD:SMART`."""
    if not isinstance(value, str):
        return value
    found = _TEXT.fullmatch(value)
    if not found:
        raise ValueError("expected <symbol>/<currency>:<exchange> such as AAPL/USD:SMART or EUR/USD:IDEALPRO, or keys")
    return {**found.groupdict(), "sec_type": _KINDS.get(found["exchange"], "STK")}


def _names_something(contract: ContractSettings) -> ContractSettings:
    if not (contract.symbol or contract.local_symbol or contract.con_id):
        raise ValueError("expected at least one of symbol, local_symbol and con_id")
    return contract


Contracts = tuple[Annotated[ContractSettings, BeforeValidator(_contract), AfterValidator(_names_something)], ...]


class IbkrSettings(Group):
    """A session with TWS or the Gateway. `client_id` is this collector's alone; 0 would bind orders placed by hand."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 4001
    client_id: Count = 1
    market_data_type: Literal["live", "frozen", "delayed", "delayed_frozen"] = "live"
    max_orderbook_depth: Count = 10
    channels: Mapping[IbkrChannel, Contracts] = Field(default_factory=dict)
