"""Contracts: what is asked for as the gateway wants it, and the one market name of what it found. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ib_async.contract import Contract

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import check_distinct_symbols, encode_component, symbol_id
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings.ibkr import ContractSettings, IbkrChannel
from fluxforge.runtime.settings.lanes import IBKR

_BY_SYMBOL: Final = frozenset({"CASH", "CRYPTO"})
"""Kinds whose local symbol names the currency once more: `EUR.USD`."""
_CANDIDATES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Subscription:
    """One request and the feed it brings."""

    channel: IbkrChannel
    contract: Contract
    feed: Feed

    @property
    def market(self) -> str:
        """The contract's market name."""
        return market_name(self.contract)


def asked(wanted: ContractSettings) -> Contract:
    """Return a contract as it is asked for."""
    return Contract(
        secType=wanted.sec_type,
        conId=wanted.con_id,
        symbol=wanted.symbol,
        lastTradeDateOrContractMonth=wanted.expiry,
        strike=wanted.strike,
        right=wanted.right,
        multiplier=wanted.multiplier,
        exchange=wanted.exchange,
        primaryExchange=wanted.primary_exchange,
        currency=wanted.currency,
        localSymbol=wanted.local_symbol,
        tradingClass=wanted.trading_class,
    )


def described(wanted: ContractSettings) -> str:
    """Return what was asked for, as a person wrote it: the keys that differ from their defaults."""
    given = {"sec_type": wanted.sec_type, "exchange": wanted.exchange} | wanted.model_dump(exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in given.items())


def market_name(contract: Contract) -> str:
    """Return `<local symbol>/<currency>:<exchange>`: `AAPL/USD:SMART`, `ESU4/USD:CME`, `EUR/USD:IDEALPRO`.

    Blanks become `_`: `AAPL_240621C00200000/USD:SMART`.
    """
    name = contract.symbol if contract.secType in _BY_SYMBOL else contract.localSymbol or contract.symbol
    return f"{'_'.join(name.split())}/{contract.currency}:{contract.exchange}"


def chosen(wanted: ContractSettings, found: Sequence[Contract], wrong: str = "") -> Contract:
    """Return the one contract that was meant; `wrong` is what TWS has against the description.

    Raises:
        ConfigurationError: It was refused, none was found, or several.
    """
    if wrong:
        raise ConfigurationError(f"ibkr: contract with {described(wanted)} refused by TWS: {wrong}")
    if not found:
        raise ConfigurationError(
            f"ibkr: no contract with {described(wanted)}; expected one that TWS finds under these keys"
        )
    if len(found) > 1:
        shown = ", ".join(
            f"{market_name(each)} (con_id {each.conId}, expiry {each.lastTradeDateOrContractMonth or 'none'}, "
            f"primary_exchange {each.primaryExchange or 'none'})"
            for each in found[:_CANDIDATES_SHOWN]
        )
        raise ConfigurationError(f"ibkr: {len(found)} contracts with {described(wanted)}: {shown}; name one by con_id")
    return found[0]


def plan(
    channels: Mapping[IbkrChannel, Sequence[ContractSettings]], contracts: Mapping[ContractSettings, Contract]
) -> tuple[Subscription, ...]:
    """Return the subscriptions, by the contract that each wanted one turned out to be.

    Raises:
        ConfigurationError: Nothing is wanted, a feed twice, or two contracts would share a symbol id.
        NameRefusedError: A market that cannot be stored.
    """
    subscriptions: dict[Feed, Subscription] = {}
    ids: dict[str, int] = {}
    for channel, wanted in channels.items():
        for each in wanted:
            contract = contracts[each]
            market = market_name(contract)
            try:
                encode_component(symbol_id(market))
            except NameRefusedError as error:
                raise NameRefusedError("ibkr: market", market, error.reason) from error
            if ids.setdefault(market, contract.conId) != contract.conId:
                raise ConfigurationError(
                    f"ibkr: contracts {ids[market]} and {contract.conId} are both {market!r}; configure one"
                )
            feed = Feed(IBKR, IBKR, channel.value, market)
            if feed in subscriptions:
                raise ConfigurationError(f"ibkr: {channel.value} brings {market!r} a second time; keep one")
            subscriptions[feed] = Subscription(channel, contract, feed)
    check_distinct_symbols(IBKR, ids)
    if not subscriptions:
        raise ConfigurationError("ibkr: nothing to capture; name contracts in ibkr.channels")
    return tuple(subscriptions.values())
