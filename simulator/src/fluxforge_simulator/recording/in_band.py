"""In-band dialects: what all venues share whose books come through the socket and whose frames need no fitting."""

from fluxforge_simulator.frame import Reply, Request
from fluxforge_simulator.recording.dialect import Book, Key, Parcel, RestIndex, Topic
from fluxforge_simulator.recording.reader import Recording


class InBandDialect:
    """Recorded frames and replies as they are. A venue adds how it subscribes and names its frames."""

    domains: tuple[str, ...]

    def __init__(self, recording: Recording, markets: bytes | None) -> None:
        self.books: dict[str, Book] = {}
        self._index = RestIndex(recording.replies)
        self._markets = markets

    def greet(self) -> tuple[bytes, ...]:
        """Return nothing."""
        return ()

    def fit(self, payload: bytes, key: Key, topic: Topic | None, sent: int) -> tuple[bytes, Key]:  # noqa: ARG002 - nothing to fit
        """Return the frame as it is."""
        return payload, key

    def awaits_book(self, topic: str) -> str | None:  # noqa: ARG002 - no topic does
        """Return None: books are in-band."""
        return None

    def precedes_book(self, parcel: Parcel, update_id: int) -> bool:  # noqa: ARG002 - no frame does
        """Return False: books are in-band."""
        return False

    def book_symbol(self, request: Request) -> str | None:  # noqa: ARG002 - no request is
        """Return None: books are in-band."""
        return None

    def rest(self, request: Request, port: int) -> Reply | None:  # noqa: ARG002 - no socket is named by REST
        """Answer what was recorded."""
        body = self._index.find(request)
        return None if body is None else Reply(body)
