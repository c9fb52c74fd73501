"""Interactive Brokers as a source: market data of TWS or the Gateway, callback by callback.

ib_async's `Client` speaks the protocol and paces requests; what it hands to its `Wrapper` comes here instead, since the
`Ticker` objects made there keep only the newest of what came in between two looks.
"""
