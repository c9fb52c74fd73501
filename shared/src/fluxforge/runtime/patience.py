"""Patience: the one place where a service tries again what may heal by itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.errors import TransientError

T = TypeVar("T")
_BACKOFF: Final = Backoff(base_s=0.1, cap_s=5.0)


class RetryEvents(Protocol):
    """Where a service reports that it tries again."""

    def operation_retried(self, error: TransientError, *, failures: int) -> None:
        """Something that may heal did not work, for the `failures`-th time in a row."""
        ...


class Patience:
    """Repeats an operation until it succeeds or fails for good; every operation given to it is safe to repeat."""

    __slots__ = ("_events",)

    def __init__(self, events: RetryEvents) -> None:
        self._events = events

    async def bus(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Return what a coroutine function returns."""
        failures = 0
        while True:
            try:
                return await operation()
            except TransientError as error:
                failures += 1
                self._events.operation_retried(error, failures=failures)
                await asyncio.sleep(_BACKOFF.delay_s(failures, random.random))

    async def disk(self, operation: Callable[[], T]) -> T:
        """Return what a blocking function returns, run off the event loop."""
        return await self.bus(lambda: asyncio.to_thread(operation))
