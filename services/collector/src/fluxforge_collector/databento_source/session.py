"""A session with Databento's gateway: the official client's protocol on the collector's own loop.

`databento.Live` runs the same protocol on a thread of its own and hands records over through a queue. On our loop a
record is stamped when its bytes arrive and entered before the next bytes are read: nothing waits in between, and a
collector that is slow makes the gateway wait, which says so.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Self

from databento.common.enums import SlowReaderBehavior
from databento.common.error import BentoError
from databento.live.protocol import DatabentoLiveProtocol
from databento_dbn import DBNRecord, ErrorCode, ErrorMsg
from typing_extensions import override

from fluxforge.domain.errors import TransientError
from fluxforge_collector.databento_source.subscriptions import Gateway

HEARTBEAT_S: Final = 5
"""The shortest silence after which the gateway can be asked to say that it lives, s."""
SILENCE_S: Final = 12.0
"""Two heartbeats and a little: the connection is dead."""
_CONNECT_S: Final = 10.0
_SIGN_IN_S: Final = 10.0
NOT_FATAL: Final = frozenset({ErrorCode.SYMBOL_RESOLUTION_FAILED, ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING})
"""Errors after which the gateway goes on with the session."""

OnRecord = Callable[[DBNRecord, int], None]
"""Takes a record and the stamp of the bytes it came in, ns UTC."""


class GatewayError(TransientError):
    """A session that did not come about, or ended; `reason` says why."""

    def __init__(self, reason: str, *, is_silent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_silent = is_silent
        """Whether the connection stood, as far as anybody could tell."""


class Session(DatabentoLiveProtocol):
    """One connection, signed in; made by `open`. `heard_ns`: when bytes came last, ns UTC."""

    def __init__(self, gateway: Gateway, now: Callable[[], int], on_record: OnRecord) -> None:
        # Without being asked the gateway leaves out what a slow reader would be late for.
        super().__init__(
            gateway.api_key,
            gateway.dataset,
            heartbeat_interval_s=HEARTBEAT_S,
            slow_reader_behavior=SlowReaderBehavior.WARN,
        )
        self._now = now
        self._on_record = on_record
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._failure: Exception | None = None
        self.heard_ns = now()
        for ending in (self.authenticated, self.disconnected):
            ending.add_done_callback(_regarded)

    @classmethod
    async def open(cls, gateway: Gateway, now: Callable[[], int], on_record: OnRecord) -> Self:
        """Connect and sign in.

        Raises:
            GatewayError: Nobody is there, does not answer, or refuses the key or the dataset.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, session = await loop.create_connection(
                    lambda: cls(gateway, now, on_record), gateway.host, gateway.port
                )
        except TimeoutError:
            raise GatewayError(f"no connection to {_place(gateway)} within {_CONNECT_S:g} s") from None
        except OSError as error:
            raise GatewayError(f"no connection to {_place(gateway)}: {error.strerror or error}") from error
        try:
            await session._signed_in(gateway)  # noqa: SLF001 - its own
        except BaseException:
            session.leave()
            raise
        return session

    def leave(self) -> None:
        """Close the connection at once; no record comes after this."""
        self.transport.abort()

    async def ended(self, silence_s: float = SILENCE_S) -> None:
        """Wait for the end.

        Raises:
            GatewayError: Always: how it ended. Silence counts as an end.
        """
        while not self.disconnected.done():
            left_s = self._heard_s + silence_s - self._loop.time()
            if left_s <= 0:
                raise GatewayError(f"nothing for {silence_s:g} s, not even a heartbeat", is_silent=True)
            await asyncio.wait([self.disconnected], timeout=left_s)
        raise self._end()

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self.heard_ns = self._now()
        self._heard_s = self._loop.time()
        try:
            super().buffer_updated(nbytes)
        except Exception as error:  # noqa: BLE001 - raised where the session is waited for
            if self._failure is None:
                self._failure = GatewayError(f"not readable as {self._dataset} data: {type(error).__name__}: {error}")
            self.leave()

    @override
    def received_record(self, record: DBNRecord) -> None:
        if isinstance(record, ErrorMsg) and record.code in NOT_FATAL:
            self._error_msgs.clear()  # the client would call it the reason for whatever end comes later
        try:
            self._on_record(record, self.heard_ns)
        except Exception as error:
            self._failure = error  # ours, whatever its type: no fault of the gateway's
            raise

    async def _signed_in(self, gateway: Gateway) -> None:
        endings: list[asyncio.Future[Any]] = [self.authenticated, self.disconnected]
        await asyncio.wait(endings, timeout=_SIGN_IN_S, return_when=asyncio.FIRST_COMPLETED)
        if not self.authenticated.done():
            if self.disconnected.done():
                raise self._end()
            raise GatewayError(f"no answer of {_place(gateway)} within {_SIGN_IN_S:g} s")
        refused = self.authenticated.exception()
        if refused is not None:
            raise GatewayError(f"{gateway.dataset}: the gateway refused to sign in: {refused}")

    def _end(self) -> Exception:
        """Return how the session ended. Any error but those of the gateway and the connection is ours."""
        if self._failure is not None:
            return self._failure
        error = self.disconnected.exception()
        if error is None:
            return GatewayError("closed by the gateway")
        if isinstance(error, (BentoError, OSError)):
            return GatewayError(str(error) or type(error).__name__)
        return error if isinstance(error, Exception) else GatewayError(repr(error))


def _regarded(ending: asyncio.Future[Any]) -> None:
    """Take the exception out: how it ended is asked later, or nobody cares any more."""
    if not ending.cancelled():
        ending.exception()


def _place(gateway: Gateway) -> str:
    return f"{gateway.host}:{gateway.port}"
