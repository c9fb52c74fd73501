"""The switch: puts connection faults on the connections that stand, and keeps those that await a request."""

from collections.abc import Callable, Coroutine, Sequence

from fluxforge_simulator.connection import Connection
from fluxforge_simulator.connection_fault import AWAITED_FAULTS, FRAME_FAULTS, ConnectionFault, Fault
from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Frame, Kind
from fluxforge_simulator.options import MALFORMED_PAYLOAD

Spawn = Callable[[Coroutine[None, None, None]], None]

_OVERSIZED_BYTES = (10 << 20) + 1
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>try again later</body></html>"


class FaultSwitch:
    """The faults of a run. Whoever serves connections keeps `connections` and fills `go_away`."""

    def __init__(self, strange: dict[str, bytes], spawn: Spawn) -> None:
        """Take each exchange's strange frame."""
        self.connections: set[Connection] = set()
        self.go_away: Callable[[Sequence[Connection], float], Coroutine[None, None, None]] | None = None
        self._strange = strange
        self._spawn = spawn
        self._awaited: list[tuple[ConnectionFault, int]] = []

    def inject(self, fault: ConnectionFault) -> int:
        """Begin a fault; return the number of connections that it befalls now.

        Raises:
            OptionError: No such exchange here.
        """
        if fault.exchange not in self._strange:
            raise OptionError("fault exchange", fault.exchange, f"one of {', '.join(self._strange)}", "another one")
        if fault.fault in AWAITED_FAULTS:
            self._awaited.append((fault, fault.count))
            return 0
        concerned = [entry for entry in self.connections if entry.exchange == fault.exchange and entry.carries(fault)]
        if fault.fault is Fault.UNREACHABLE and self.go_away is not None:
            self._spawn(self.go_away(concerned, fault.lasts_s))
            return len(concerned)
        for connection in concerned:
            self._befall(connection, fault)
        return len(concerned)

    def awaited(self, exchange: str, *kinds: Fault) -> ConnectionFault | None:
        """Return the fault of these kinds that the next request of an exchange's client meets."""
        return next((fault for fault, _ in self._awaited if fault.exchange == exchange and fault.fault in kinds), None)

    def met(self, fault: ConnectionFault) -> None:
        """Take note that a request has met a fault."""
        index = next(index for index, (entry, _) in enumerate(self._awaited) if entry is fault)
        left = self._awaited[index][1] - 1
        self._awaited[index : index + 1] = [(fault, left)] if left else []

    def _befall(self, connection: Connection, fault: ConnectionFault) -> None:
        if fault.fault in FRAME_FAULTS:
            connection.tampering.add(fault)
        elif fault.fault is Fault.CLOSE:
            self._spawn(connection.close(fault.status))
        elif fault.fault is Fault.ABORT:
            connection.abort()
        elif fault.fault is Fault.FORGET:
            connection.forget(fault)
        else:
            frame = Frame(self._payload(fault), Kind.DATA, fault.channel, fault.symbol, fault=fault.fault)
            connection.offer([frame] * fault.count)

    def _payload(self, fault: ConnectionFault) -> bytes:
        if fault.fault is Fault.OVERSIZED:
            return b'{"e":"%b"}' % (b"x" * _OVERSIZED_BYTES)
        if fault.fault is Fault.STRANGE:
            return self._strange[fault.exchange]
        return _PAGE if fault.fault is Fault.TEXT else MALFORMED_PAYLOAD
