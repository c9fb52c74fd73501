"""A link: one connection of ib_async's client to TWS or the Gateway, from the handshake to its end.

ib_async logs what it fails to decode and goes on; here that is told to whoever listens. Its log is otherwise silenced,
since all it says is said by us.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Any, Final, Protocol

from ib_async.client import Client
from ib_async.decoder import Decoder
from typing_extensions import override

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.errors import TransientError
from fluxforge.runtime.settings.ibkr import IbkrSettings
from fluxforge_collector.ibkr_source.codes import CLIENT_ID_TAKEN, Meaning, meaning

BACKOFF: Final = Backoff(base_s=0.5, cap_s=30.0)
"""Between one try to have a session and the next."""
_CONNECT_S: Final = 10.0
_NO_REQUEST: Final = -1
_REQUESTS_MAX: Final = 4
_REQUESTS_S: Final = 0.1
"""TWS takes 50 messages in any second. ib_async's own 45 at once are 90 to whoever reads the first ones late."""

logging.getLogger("ib_async").setLevel(logging.CRITICAL + 1)


class GatewayUnavailableError(TransientError):
    """TWS or the Gateway is not there, or takes no session of ours now."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"TWS or the Gateway at {address}: {reason}")
        self.address = address
        self.reason = reason


class Listener(Protocol):
    """What hears the session; methods of ib_async's wrapper beside these are called where they exist."""

    def error(self, reqId: int, errorCode: int, errorString: str, advanced: str) -> None:  # noqa: N803 - ib_async's
        """Hear a code."""
        ...

    def undecoded(self, error: BaseException, fields: Sequence[str]) -> None:
        """Hear of a message that could not be read."""
        ...


class Link:
    """One connection. `ended` gets the reason of its end, or an error of our own."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._said = ""
        untyped: Any = Client
        self.client = untyped(_Ears(self, listener))
        self.client.MaxRequests, self.client.RequestsInterval = _REQUESTS_MAX, _REQUESTS_S
        self.client.decoder = _GuardedDecoder(self.client.wrapper, listener)
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self, settings: IbkrSettings) -> None:
        """Connect and wait until requests may be made.

        Raises:
            GatewayUnavailableError: Nobody listens, or the session was refused; says why. The link is closed.
        """
        self.client.apiError += self.end
        self.client.conn.hasData.error_event += self._failed
        self.client.conn.disconnected += self._closed
        failure = ""
        try:
            async with asyncio.timeout(_CONNECT_S), asyncio.TaskGroup() as tasks:
                connecting = tasks.create_task(
                    self.client.connectAsync(settings.host, settings.port, settings.client_id, None)
                )
                self.ended.add_done_callback(lambda _: connecting.cancel())
        except* TimeoutError:
            failure = f"no session within {_CONNECT_S:g} s"
        except* OSError as errors:
            failure = str(errors.exceptions[0])
        if failure or self.ended.done() or not self.client.isReady():
            self.end("the session ended at once")
            self.close()
            reason = self._said or failure or self.ended.result()
            raise GatewayUnavailableError(f"{settings.host}:{settings.port}", reason)

    def close(self) -> None:
        """Close the socket; `ended` stays as it is."""
        self.client.apiError -= self.end
        self.client.disconnect()

    def end(self, reason: str) -> None:
        """Take it for ended, if it is not yet; the socket is closed by `close`."""
        if not self.ended.done():
            self.ended.set_result(reason)

    def fail(self, error: Exception) -> None:
        """Take it for ended by an error of our own, which `ended` then raises."""
        if not self.ended.done():
            self.ended.set_exception(error)

    def _closed(self, reason: str) -> None:
        # ib_async says nothing of a peer that closes before it answered, as TWS does to addresses it does not trust.
        self.end(reason or "it closed the connection; do its API settings trust this address?")

    def _failed(self, _event: object, error: Exception) -> None:
        # Where a message ends is not known any more; ib_async would only log it.
        self.end(f"what came cannot be read: {type(error).__name__}: {error}")

    def remember(self, code: int, text: str, client_id: int) -> None:
        """Keep what was wrong before the session stood: it is why it does not."""
        self._said = f"{code}: {text}"
        if code == CLIENT_ID_TAKEN:
            self._said = f"client id {client_id} is in use ({code}); give this collector an ibkr.client_id of its own"


class _Ears:
    """Hands everything to the listener; what it does not want is not heard."""

    def __init__(self, link: Link, listener: Listener) -> None:
        self._link = link
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def error(self, number: int, code: int, text: str, advanced: str) -> None:
        is_failure = meaning(code, of_request=True) is Meaning.REFUSED
        if is_failure and number == _NO_REQUEST and not self._link.client.isReady():
            self._link.remember(code, text, self._link.client.clientId)
        self._listener.error(number, code, text, advanced)

    def connectAck(self) -> None:  # noqa: N802 - ib_async calls these by their names
        """Nothing to do: requests are made once the session is ready."""

    def connectionClosed(self) -> None:  # noqa: N802
        """Nothing to do: the link's end says it."""

    def setEventsDone(self) -> None:  # noqa: N802
        """Nothing to do: there are no events of single requests."""


class _GuardedDecoder(Decoder):
    """Tells what it could not decode, which ib_async only logs."""

    def __init__(self, wrapper: Any, listener: Listener) -> None:
        untyped: Any = super()
        untyped.__init__(wrapper, 0)
        self._fields: Sequence[str] = ()
        self.logger = _Failures(lambda error: listener.undecoded(error, self._fields))

    @override
    def interpret(self, fields: Sequence[str]) -> None:
        self._fields = fields
        untyped: Any = super()
        untyped.interpret(fields)


class _Failures(logging.Logger):
    """The decoder's logger, which is where its failures end."""

    def __init__(self, tell: Any) -> None:
        super().__init__("ib_async.Decoder")
        self._tell = tell

    @override
    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        error = sys.exception()
        if isinstance(error, UnboundLocalError) and error.__context__ is not None:
            error = error.__context__  # what ib_async's own line for its log failed over
        self._tell(error)
