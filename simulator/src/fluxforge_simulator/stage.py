"""Stage: the port between the server and what it plays, made-up markets or a recording, for one exchange."""

from typing import Protocol

from fluxforge_simulator.connection import Connection
from fluxforge_simulator.frame import Reply, Request


class Part(Protocol):
    """One connection's part in what is played."""

    def hear(self, text: str) -> None:
        """Take one client message; the answers are offered to the connection."""
        ...

    def beat(self) -> None:
        """Offer what is due by the clock alone; called once a second."""
        ...

    def leave(self) -> None:
        """End: the connection is closed."""
        ...


class Stage(Protocol):
    """What one exchange says."""

    exchange: str

    def serves(self, host: str) -> bool:
        """Tell whether requests for a venue's host, without its port number, are for this stage."""
        ...

    def answer(self, request: Request, port: int) -> Reply | None:
        """Answer a REST request; `port` is the simulator's own. None where there is no such resource."""
        ...

    def enter(self, connection: Connection) -> Part:
        """Begin a conversation."""
        ...
