"""The ccxt source: order books, trades, tickers and more of any exchange that ccxt.pro can watch."""
