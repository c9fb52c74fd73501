"""Requests: how each channel of a contract is asked for and called off."""

from typing import Any, Final

from fluxforge.runtime.settings.ibkr import IbkrChannel
from fluxforge_collector.ibkr_source.contracts import Subscription

_BAR_S: Final = 5
_SMART: Final = "SMART"
_TICKS: Final = {IbkrChannel.TRADES: "AllLast", IbkrChannel.BIDSASKS: "BidAsk"}


def request(client: Any, number: int, subscription: Subscription, *, rows_max: int) -> None:
    """Send the request of a subscription to ib_async's client."""
    contract = subscription.contract
    if subscription.channel is IbkrChannel.TICKER:
        client.reqMktData(number, contract, "", False, False, [])  # noqa: FBT003 - ib_async takes them by position
    elif subscription.channel is IbkrChannel.ORDERBOOK:
        client.reqMktDepth(number, contract, rows_max, contract.exchange == _SMART, [])
    elif subscription.channel is IbkrChannel.BARS:
        what = "MIDPOINT" if contract.secType == "CASH" else "TRADES"  # currency pairs have no trades
        client.reqRealTimeBars(number, contract, _BAR_S, what, False, [])  # noqa: FBT003 - see above
    else:
        client.reqTickByTickData(number, contract, _TICKS[subscription.channel], 0, False)  # noqa: FBT003 - see above


def cancel(client: Any, number: int, subscription: Subscription) -> None:
    """Call a request off; TWS answers with a notice where there is none."""
    if subscription.channel is IbkrChannel.TICKER:
        client.cancelMktData(number)
    elif subscription.channel is IbkrChannel.ORDERBOOK:
        client.cancelMktDepth(number, subscription.contract.exchange == _SMART)
    elif subscription.channel is IbkrChannel.BARS:
        client.cancelRealTimeBars(number)
    else:
        client.cancelTickByTickData(number)
