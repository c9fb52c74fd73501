"""Coinbase Advanced Trade without ccxt in between: its products, its connections, and its frames as records."""
