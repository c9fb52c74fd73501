"""Replay: the records of sealed segments fed back: to the bus, to any client's websocket, through ccxt again."""
