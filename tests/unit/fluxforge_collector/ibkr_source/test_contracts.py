from typing import Any

import pytest
from ib_async.contract import Contract

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import encode_component, symbol_id
from fluxforge.runtime.settings.ibkr import ContractSettings, IbkrChannel
from fluxforge_collector.ibkr_source.contracts import asked, chosen, described, market_name, plan

AAPL = Contract("STK", 265598, "AAPL", exchange="SMART", currency="USD", localSymbol="AAPL", primaryExchange="NASDAQ")
ESU4 = Contract("FUT", 568550526, "ES", "20240920", exchange="CME", currency="USD", localSymbol="ESU4")


@pytest.mark.parametrize(
    ("contract", "market"),
    [
        (AAPL, "AAPL/USD:SMART"),
        (ESU4, "ESU4/USD:CME"),
        (Contract("CASH", 1, "EUR", exchange="IDEALPRO", currency="USD", localSymbol="EUR.USD"), "EUR/USD:IDEALPRO"),
        (Contract("STK", 1, "BRK B", exchange="SMART", currency="USD", localSymbol="BRK B"), "BRK_B/USD:SMART"),
        (
            Contract("OPT", 1, "AAPL", exchange="SMART", currency="USD", localSymbol="AAPL  240621C00200000"),
            "AAPL_240621C00200000/USD:SMART",
        ),
        (Contract("IND", 1, "SPX", exchange="CBOE", currency="USD"), "SPX/USD:CBOE"),
    ],
)
def test_a_market_name_is_read_by_people_and_needs_no_escaping_in_a_path(contract: Contract, market: str) -> None:
    assert market_name(contract) == market
    assert encode_component(symbol_id(market)) == symbol_id(market)


def test_a_contract_is_asked_for_by_what_is_given() -> None:
    wanted = ContractSettings(sec_type="FUT", symbol="ES", exchange="CME", expiry="202409", multiplier="50")
    contract = asked(wanted)
    assert (contract.secType, contract.symbol, contract.exchange) == ("FUT", "ES", "CME")
    assert (contract.lastTradeDateOrContractMonth, contract.multiplier, contract.conId) == ("202409", "50", 0)
    assert described(wanted) == "sec_type FUT, exchange CME, symbol ES, expiry 202409, multiplier 50"


def test_none_several_and_a_refused_description_are_told_apart() -> None:
    wanted = ContractSettings(sec_type="FUT", symbol="ES", exchange="CME")
    assert chosen(wanted, [ESU4]) is ESU4
    with pytest.raises(ConfigurationError, match="no contract with sec_type FUT, exchange CME, symbol ES"):
        chosen(wanted, [])
    with pytest.raises(ConfigurationError, match=r"2 contracts .* ESU4/USD:CME \(con_id 568550526, expiry 20240920"):
        chosen(wanted, [ESU4, AAPL])
    with pytest.raises(ConfigurationError, match="refused by TWS: Please enter exchange"):
        chosen(wanted, [], "Please enter exchange")


def planned(channels: dict[IbkrChannel, list[ContractSettings]], contracts: dict[ContractSettings, Any]) -> list[str]:
    return [f"{each.feed.channel} {each.market}" for each in plan(channels, contracts)]


WANTED = ContractSettings(symbol="AAPL")
TWIN = ContractSettings(con_id=1)


def test_a_plan_has_a_feed_for_every_contract_of_every_channel() -> None:
    channels = {IbkrChannel.TICKER: [WANTED], IbkrChannel.TRADES: [WANTED, TWIN]}
    assert planned(channels, {WANTED: AAPL, TWIN: ESU4}) == [
        "ticker AAPL/USD:SMART",
        "trades AAPL/USD:SMART",
        "trades ESU4/USD:CME",
    ]


@pytest.mark.parametrize(
    ("twin", "message"),
    [
        (AAPL, "trades brings 'AAPL/USD:SMART' a second time; keep one"),
        (Contract("STK", 7, "AAPL", exchange="SMART", currency="USD"), "contracts 265598 and 7 are both"),
    ],
)
def test_two_contracts_that_would_be_one_feed_are_refused(twin: Contract, message: str) -> None:
    channels = {IbkrChannel.TRADES: [WANTED, TWIN]}
    with pytest.raises(ConfigurationError, match=message):
        plan(channels, {WANTED: AAPL, TWIN: twin})


def test_nothing_to_capture_and_a_name_too_long_for_a_path_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="nothing to capture"):
        plan({}, {})
    long = Contract("STK", 7, "A" * 130, exchange="SMART", currency="USD")
    with pytest.raises(NameRefusedError, match="longer than 120 bytes"):
        plan({IbkrChannel.TRADES: [WANTED]}, {WANTED: long})
