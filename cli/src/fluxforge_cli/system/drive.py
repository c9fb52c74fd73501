"""Driving: a run on an event loop of its own, with what Ctrl-C means to a person at a terminal."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fluxforge.domain.errors import FluxForgeError
from fluxforge.runtime.lifecycle import Shutdown

_T = TypeVar("_T")


class GivenUpError(FluxForgeError):
    """The drain was cut short by a second signal; what is in the bus is sealed and processed at the next start."""


def drive(body: Callable[[Shutdown], Awaitable[_T]]) -> _T:
    """Run `body` and return what it returns. The first SIGINT or SIGTERM asks for the drain, the second gives it up.

    An exception group with one cause is raised as that cause.

    Raises:
        GivenUpError: After the second signal; every child was killed.
    """
    with asyncio.Runner() as runner:
        return runner.run(_driven(body))


async def _driven(body: Callable[[Shutdown], Awaitable[_T]]) -> _T:
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    given_up = False

    def heard() -> None:
        nonlocal given_up
        if shutdown.requested:
            given_up = True
            task.cancel()
        shutdown.request()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard)
    try:
        return await body(shutdown)
    except asyncio.CancelledError:
        if not given_up:
            raise
        raise GivenUpError(
            "the drain was given up: what was captured and not yet processed stays in the bus and in raw/, "
            "and is processed at the next start"
        ) from None
    except BaseExceptionGroup as group:
        raise _cause(group) from group
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
