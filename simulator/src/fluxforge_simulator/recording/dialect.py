"""Dialect: the port by which a venue's recorded frames find their subscribers.

A dialect is pure. It knows which topic a recorded frame belongs to, what a client's message subscribes, and what the
venue's REST API answers where the recording does not. A topic is a subscription as the venue sees it, one channel of
one market; its text is the dialect's own affair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fluxforge_simulator.frame import Kind, Reply, Request

Key = tuple[int | str, ...]


class Parcel(NamedTuple):
    """What a recorded frame is: its topic, and how the ledger names it."""

    topic: str
    channel: str
    symbol: str
    kind: Kind
    key: Key


@dataclass(frozen=True, slots=True)
class Topic:
    """One subscription. `detail` is what frames have to be fitted to: the name by which the client knows it."""

    text: str
    channel: str
    symbol: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client message means: answers, and topics that begin or end."""

    answers: tuple[bytes, ...] = ()
    subscribed: tuple[Topic, ...] = ()
    unsubscribed: tuple[str, ...] = ()
    is_ping: bool = False


@dataclass(frozen=True, slots=True)
class Book:
    """A recorded REST order book and the update id it stands at."""

    body: bytes
    update_id: int


class Dialect(Protocol):
    """One venue's way of speaking, about one recording."""

    @property
    def domains(self) -> tuple[str, ...]:
        """What the names of its hosts end in."""
        ...

    @property
    def books(self) -> Mapping[str, Book]:
        """Recorded REST order books by symbol."""
        ...

    def greet(self) -> tuple[bytes, ...]:
        """Return what the venue says before it is spoken to."""
        ...

    def hear(self, text: str) -> Heard:
        """Understand one client message."""
        ...

    def classify(self, payload: bytes) -> Parcel | None:
        """Name a recorded frame; None where it is not market data, and is said at its own time or not at all."""
        ...

    def fit(self, payload: bytes, key: Key, topic: Topic | None, sent: int) -> tuple[bytes, Key]:
        """Fit a recorded frame and its key to a client's subscription, or an answer (no topic) to its connection.

        `sent` counts what the connection was told before.
        """
        ...

    def awaits_book(self, topic: str) -> str | None:
        """Return the symbol whose REST book the client will ask for before it understands the topic, None if none."""
        ...

    def precedes_book(self, parcel: Parcel, update_id: int) -> bool:
        """Tell whether a frame of a topic is already part of the book that the client was given."""
        ...

    def book_symbol(self, request: Request) -> str | None:
        """Return the symbol whose REST order book is asked for, None where something else is."""
        ...

    def rest(self, request: Request, port: int) -> Reply | None:
        """Answer what the recording does not."""
        ...


class RestIndex:
    """Recorded REST replies by path and query; the first recorded one answers."""

    def __init__(self, replies: list[tuple[str, bytes]]) -> None:
        self._bodies: dict[tuple[str, frozenset[str]], bytes] = {}
        for url, body in replies:
            path, query = split_url(url)
            self._bodies.setdefault((path, frozenset(query)), body)

    def find(self, request: Request) -> bytes | None:
        """Return the body recorded for a request."""
        query = frozenset(f"{name}={value}" for name, value in request.query.items())
        return self._bodies.get((request.path, query))


def split_url(url: str) -> tuple[str, list[str]]:
    """Return path and query terms of a URL."""
    location, _, query = url.partition("?")
    _, _, rest = location.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path, [term for term in query.split("&") if term]


def query_of(url: str) -> dict[str, str]:
    """Return the query of a URL by names."""
    return dict(term.partition("=")[::2] for term in split_url(url)[1])
