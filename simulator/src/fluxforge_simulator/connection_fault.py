"""Connection faults: what can be made to go wrong between an exchange and its clients while a run lasts."""

from dataclasses import dataclass
from enum import StrEnum

import orjson

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Frame, Kind

_CODE_MAX = 4999
_STATUS_MAX = 599


class Fault(StrEnum):
    """What goes wrong."""

    DROP = "drop"
    """Frames do not leave."""
    DUPLICATE = "duplicate"
    """Frames leave twice."""
    SWAP = "swap"
    """Frames leave behind the one that follows them in their feed."""
    CHECKSUM = "checksum"
    """Frames bear a wrong checksum, where they bear one."""
    MALFORMED = "malformed"
    """A frame that breaks off."""
    TEXT = "text"
    """A frame that is a page of HTML."""
    STRANGE = "strange"
    """A frame of a market that is not listed, without the fields that were promised."""
    OVERSIZED = "oversized"
    """A frame of more than 10 MiB."""
    CLOSE = "close"
    """The connection is closed in order, with `code`."""
    ABORT = "abort"
    """The connection is reset."""
    FREEZE = "freeze"
    """Nothing leaves any more on the connection, pongs neither; it stays open."""
    MUTE = "mute"
    """No data leaves any more on the connection, but pongs, acknowledgements and heartbeats do."""
    FORGET = "forget"
    """Subscriptions on the connection are forgotten without a word; new ones are kept."""
    REFUSE = "refuse"
    """Subscriptions are refused as for something that is not there."""
    LIMIT = "limit"
    """Subscriptions are refused as too frequent."""
    HANDSHAKE = "handshake"
    """New connections are answered with the HTTP status `code`."""
    REST = "rest"
    """REST requests are answered with the HTTP status `code`."""
    UNREACHABLE = "unreachable"
    """Every connection is reset, and for `lasts_s` nobody listens: for no exchange of this run."""


FRAME_FAULTS = frozenset({Fault.DROP, Fault.DUPLICATE, Fault.SWAP, Fault.CHECKSUM, Fault.FREEZE, Fault.MUTE})
AWAITED_FAULTS = frozenset({Fault.REFUSE, Fault.LIMIT, Fault.HANDSHAKE, Fault.REST})
"""Those that wait for the client to ask for something."""
_CODES = {Fault.CLOSE: 1000, Fault.HANDSHAKE: 429, Fault.REST: 503}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFault:
    """One fault of an exchange. It ends by itself.

    `channel` and `symbol` (unified) choose frames, and the connections that have carried such; None is any.
    `count` is of frames on each of these connections, or of the subscriptions, handshakes and requests to come.
    `code` is that of a close, or an HTTP status; None takes the fault's own. `retry_after_s` goes with the latter.
    """

    fault: Fault
    exchange: str
    channel: str | None = None
    symbol: str | None = None
    count: int = 1
    code: int | None = None
    retry_after_s: int | None = None
    lasts_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            OptionError: One of them is.
        """
        for name, value, least in (("count", self.count, 1), ("lasts_s", self.lasts_s, 0)):
            if value < least:
                raise OptionError(f"fault {name}", str(value), f"{least} or more", "less")
        most = _CODE_MAX if self.fault is Fault.CLOSE else _STATUS_MAX
        if self.code is not None and not 0 < self.code <= most:
            raise OptionError("fault code", str(self.code), f"1 to {most}", "outside of it")

    @property
    def status(self) -> int:
        """The code that applies."""
        return self.code or _CODES[self.fault]

    @property
    def headers(self) -> dict[str, str]:
        """What stands over an HTTP answer."""
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}

    def names(self, channel: str | None, symbol: str | None) -> bool:
        """Tell whether it is about a feed."""
        return self.channel in {None, channel} and self.symbol in {None, symbol}

    def concerns(self, frame: Frame) -> bool:
        """Tell whether a frame is one that it can befall."""
        kinds = {Kind.DATA, Kind.SNAPSHOT} if self.fault is Fault.MUTE else {Kind.DATA}
        return frame.kind in kinds and frame.symbol is not None and self.names(frame.channel, frame.symbol)


def fault_from_json(text: bytes) -> ConnectionFault:
    """Return the fault of its fields as a JSON object.

    Raises:
        OptionError: They are not those of a fault.
    """
    try:
        fields = orjson.loads(text)
        return ConnectionFault(**{**fields, "fault": Fault(fields["fault"])})
    except (ValueError, TypeError, KeyError) as error:
        expected = f"an object with fault (one of {', '.join(Fault)}), exchange, and what belongs to it"
        raise OptionError("fault", text[:200].decode(errors="replace"), expected, repr(error)) from error
