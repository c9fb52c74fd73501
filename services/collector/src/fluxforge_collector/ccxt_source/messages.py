"""Messages: what was sent to subscribe, for fewer markets, or turned round. Pure.

ccxt subscribes a whole list again when one market of it is missing, and can unsubscribe on some venues alone.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

_VERBS: Final = {
    "subscribe": "unsubscribe",
    "SUBSCRIBE": "UNSUBSCRIBE",
    "sub": "unsub",
    "public/subscribe": "public/unsubscribe",
}
_IDS: Final = frozenset({"id", "req_id", "reqid"})


def without(message: Any, others: Collection[str]) -> Any:
    """Return a message, or what ccxt keeps of it, less what names `others`; the venue's names or our own."""
    if not isinstance(message, Mapping):
        return message
    lower = {name.lower() for name in others}
    return {key: _less(value, lower) for key, value in message.items()}


def unsubscribing(message: Any, others: Collection[str], request: int) -> dict[str, Any] | None:
    """Return the message that ends a subscription but for the part that is of others; None where none can be made.

    So it is where the message has no part that is theirs alone: it asks for a whole channel, and so would its end.

    Args:
        message: What was sent to subscribe.
        others: What the venue calls the markets in it that are to stay.
        request: The number that the message bears where messages bear one; the answer must not be taken for another's.
    """
    if not isinstance(message, Mapping):
        return None
    verb = next((key for key, value in message.items() if isinstance(value, str) and value in _VERBS), None)
    if verb is None:
        return None
    rest = without(message, others)
    if others and rest == message:
        return None
    numbers = {key: type(value)(request) for key, value in message.items() if key in _IDS}
    return {**rest, verb: _VERBS[message[verb]], **numbers}


def is_same(one: Any, other: Any) -> bool:
    """Return whether two messages ask for the same; what they are numbered or stamped with does not count."""
    return bool(_unnumbered(one) == _unnumbered(other))


def _unnumbered(message: Any) -> Any:
    if not isinstance(message, Mapping):
        return message
    return {key: value for key, value in message.items() if key not in _IDS and not isinstance(value, int | float)}


def _less(value: Any, others: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _less(part, others) for key, part in value.items()}
    if isinstance(value, list):
        return [_less(part, others) for part in value if _words(part).isdisjoint(others)]
    return _less_text(value, others) if isinstance(value, str) else value


def _less_text(text: str, others: Collection[str]) -> str:
    """Return what is left of names joined by commas, behind a topic or not: `A,B`, `/market/match:A,B`."""
    first, *more = text.split(",")
    if not more:
        return text
    topic, mark, name = ("", "", first) if first.lower() in others else first.rpartition(":")
    names = [name, *more]
    left = [name for name in names if name.lower() not in others]
    return f"{topic}{mark}{','.join(left)}" if left else text


def _words(part: Any) -> set[str]:
    """Return what a part of a subscription may name: `BTC-USD`, `btcusdt@depth`, `orderbook.50.BTCUSDT`, {"instId"}."""
    texts = [text for text in part.values() if isinstance(text, str)] if isinstance(part, Mapping) else [str(part)]
    return {word for text in texts for mark in ("@", ".", ":", "\0") for word in text.lower().split(mark)}
