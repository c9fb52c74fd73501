"""The connection: one nats-py client that heals by itself, never buffers while away, and says when it is beyond help.

Guards kept here: nothing that was handed over before a disconnect is sent after it (a purge flushed late emptied a
new stream); requests that were under way when the connection broke fail at once instead of at their deadline; a dead
read loop, a connection closed for good and a permission violation become a `FatalError` that every caller meets.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fluxforge.adapters.jetstream.options import BusOptions, inbox_prefix
from fluxforge.domain.errors import BusUnavailableError, ConfigurationError, FatalError

REQUEST_S: Final = 5.0
_CONNECT_S: Final = 10.0
_CLOSE_S: Final = 1.0
_WATCH_S: Final = 1.0
_PING_S: Final = 5
_PINGS_UNANSWERED_MAX: Final = 1
_ANNOUNCE_PENDING_MAX_BYTES: Final = 2 * 1024 * 1024


class Connection:
    """One client connection. Listeners are told after each loss and each return of it, and once it has failed."""

    def __init__(self) -> None:
        self.client = Client()
        self._listeners: dict[Callable[[], None], None] = {}  # an ordered set
        self._failure: FatalError | None = None
        self._failed = asyncio.Event()
        self._is_closing = False
        self._watch: asyncio.TimerHandle | None = None
        self._last_error = "no server answered"

    @classmethod
    async def open(cls, options: BusOptions, name: str) -> Self:
        """Connect.

        Raises:
            BusUnavailableError: No server answered within 10 s.
            ConfigurationError: The server refuses the credentials, or records of the configured size.
        """
        connection = cls()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await connection._connect(options, name)
        except TimeoutError as error:
            await connection.close()
            raise BusUnavailableError(f"connect to {', '.join(options.servers)}", connection._last_error) from error
        except ConfigurationError:
            await connection.close()
            raise
        except (nats.errors.Error, ImportError) as error:
            await connection.close()
            raise ConfigurationError(f"nats: cannot use servers {', '.join(options.servers)}: {error}") from error
        if connection.client.max_payload < options.max_payload:
            allowed = connection.client.max_payload
            await connection.close()
            raise ConfigurationError(
                f"nats.max_payload is {options.max_payload}, the server allows {allowed}: lower one or raise the other"
            )
        return connection

    async def _connect(self, options: BusOptions, name: str) -> None:
        sign_in = options.sign_in()
        await self.client.connect(
            list(options.servers),
            name=name,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=_PING_S,
            max_outstanding_pings=_PINGS_UNANSWERED_MAX,
            pending_size=0,
            drain_timeout=int(_CLOSE_S),
            tls=options.tls_context(),
            inbox_prefix=inbox_prefix(sign_in),
            **sign_in,
        )
        self._look_after()

    @property
    def is_connected(self) -> bool:
        """Whether requests can be made now."""
        return self.client.is_connected and not self._is_closing

    @property
    def is_closing(self) -> bool:
        """Whether we are done with it."""
        return self._is_closing

    @property
    def server(self) -> str:
        """Host and port of the connected server."""
        url = self.client.connected_url
        return f"{url.hostname}:{url.port}" if url else "nowhere"

    @property
    def server_version(self) -> str:
        """What the connected server says it is, such as `2.15.1`."""
        return str(self.client._server_info.get("version", ""))  # noqa: SLF001 - likewise

    @property
    def server_id(self) -> str:
        """The id by which the connected server calls itself."""
        return str(self.client._server_info.get("server_id", ""))  # noqa: SLF001 - nats-py shows it nowhere else

    def listen(self, listener: Callable[[], None]) -> Callable[[], object]:
        """Call `listener` at every change; return what ends that."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def fail(self, error: FatalError) -> None:
        """Declare the connection beyond help; the first reason stands."""
        if self._failure is None and not self._is_closing:
            self._failure = error
            self._failed.set()
            self._abandon_requests()
            self._tell()

    def raise_if_failed(self) -> None:
        """Raise what made the connection fail, if anything did."""
        if self._failure is not None:
            raise self._failure

    async def failed(self) -> None:
        """Return never; raise once the connection has failed."""
        await self._failed.wait()
        self.raise_if_failed()

    async def request(
        self, subject: str, payload: bytes, *, operation: str, headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Ask and return the answer.

        Raises:
            BusUnavailableError: Not connected, or no answer; the outcome is unknown.
        """
        self.raise_if_failed()
        if not self.is_connected:
            raise BusUnavailableError(operation, "not connected")
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            answer = await self.client.request(
                subject, payload, timeout=REQUEST_S, headers=dict(headers) if headers else None
            )
        except nats.errors.NoRespondersError as error:
            raise NoRespondersError(operation) from error
        except (nats.errors.Error, OSError, TimeoutError) as error:
            self.raise_if_failed()
            raise BusUnavailableError(operation, str(error) or type(error).__name__) from error
        if task and task.cancelling() > cancels:
            # asyncio.wait_for of Python 3.11, which nats-py uses, swallows a cancellation that meets the answer.
            raise asyncio.CancelledError
        return answer

    async def send(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> bool:
        """Hand a message to the socket; return False where the connection is away, and nothing was sent."""
        self.raise_if_failed()
        if not self.is_connected:
            return False
        try:
            await self.client.publish(subject, payload, reply, headers)
        except (nats.errors.OutboundBufferLimitError, nats.errors.ConnectionClosedError):
            return False
        return True

    async def announce(self, subject: str, payload: bytes) -> None:
        """Hand over a message that may get lost: where the connection is away or its socket is clogged, it is."""
        if self.client.pending_data_size < _ANNOUNCE_PENDING_MAX_BYTES:
            await self.send(subject, payload)

    async def subscribe(self, subject: str, callback: Callable[[Msg], None]) -> Subscription:
        """Call `callback` with every message on `subject`; the subscription outlives reconnects."""

        async def call(message: Msg) -> None:
            callback(message)

        try:
            return await self.client.subscribe(subject, cb=call)
        except nats.errors.Error as error:
            self.raise_if_failed()
            raise BusUnavailableError(f"subscribe to {subject}", str(error)) from error

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; one that ended with its connection is no error."""
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()

    def new_inbox(self) -> str:
        """Return a subject that nobody else listens on."""
        return self.client.new_inbox()

    async def close(self) -> None:
        """Close within 1 s; repeating it is no error."""
        self._is_closing = True
        if self._watch is not None:
            self._watch.cancel()
        self._tell()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.client.close()
        except (TimeoutError, OSError):
            return  # the socket is gone either way
        except asyncio.CancelledError:
            # All who wait for a socket's end share one future: whoever was cancelled waiting took it with them.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _look_after(self) -> None:
        """Notice a read loop that ended while the client still counts itself connected, and help a reconnect along.

        nats-py waits for what the old socket still holds before it reconnects; a peer that takes nothing more, such as
        one cut off or stopped, would hold it up for as long as TCP has patience.
        """
        client = self.client
        reading = client._reading_task  # noqa: SLF001 - nats-py shows it nowhere else
        if client.is_connected and reading is not None and reading.done():
            self.fail(FatalError("the bus connection's read loop died: nothing more would be received"))
            return
        writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001 - likewise
        if client.is_reconnecting and writer is not None and writer.transport.is_closing():
            writer.transport.abort()
        self._watch = asyncio.get_running_loop().call_later(_WATCH_S, self._look_after)

    def _abandon_requests(self) -> None:
        for waiting in tuple(self.client._resp_map.values()):  # noqa: SLF001 - their answers cannot come any more
            if not waiting.done():
                waiting.set_exception(nats.errors.ConnectionReconnectingError())

    async def _on_error(self, error: Exception) -> None:
        self._last_error = str(error) or type(error).__name__
        if self._watch is None and "authorization" in self._last_error.lower():
            # The first connect tries for ever; what is raised here ends it.
            raise ConfigurationError(f"the bus refuses the credentials: {self._last_error}")
        if "permissions violation" in self._last_error.lower():
            self.fail(FatalError(f"the bus refuses us something we need: {self._last_error}"))
        elif not isinstance(error, nats.errors.Error | OSError | TimeoutError):
            self.fail(FatalError(f"a message from the bus could not be handled: {error!r}"))

    async def _on_disconnected(self) -> None:
        client = self.client
        client._pending.clear()  # noqa: SLF001 - else it is sent after the reconnect
        client._pending_data_size = 0  # noqa: SLF001
        self._abandon_requests()
        self._tell()

    async def _on_reconnected(self) -> None:
        self._tell()

    async def _on_closed(self) -> None:
        if not self._is_closing:
            self.fail(FatalError(f"the bus closed the connection for good: {self.client.last_error}"))


class NoRespondersError(BusUnavailableError):
    """Nobody serves the subject: no such stream, or the server is not ready yet."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation, "nobody serves this subject")


async def until(deadline_s: float, condition: Awaitable[object]) -> bool:
    """Wait for something for so long; return whether it came."""
    try:
        async with asyncio.timeout(deadline_s):
            await condition
    except TimeoutError:
        return False
    return True
