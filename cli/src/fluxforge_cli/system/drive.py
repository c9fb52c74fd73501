"""Driving: a run on an event loop of its own, with what signals mean to a person at a terminal."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from fluxforge.domain.errors import FluxForgeError
from fluxforge.runtime.lifecycle import Shutdown

_T = TypeVar("_T")
_ENDS: Final = (signal.SIGINT, signal.SIGTERM)
_STREAMS: Final = (0, 1, 2)


class GivenUpError(FluxForgeError):
    """The drain was cut short by a second signal; what is in the bus is sealed and processed at the next start."""


def drive(body: Callable[[Shutdown], Awaitable[_T]], *, reload: Callable[[], None] | None = None) -> _T:
    """Run `body` and return what it returns. The first SIGINT or SIGTERM asks for the drain, the second gives it up.

    SIGHUP calls `reload`. Without it, or once the terminal is gone, it asks for the drain and never gives it up; what
    would be printed on that terminal then goes nowhere.

    An exception group with one cause is raised as that cause.

    Raises:
        GivenUpError: After the second signal; every child was killed.
    """
    with asyncio.Runner() as runner:
        return runner.run(_driven(body, reload))


async def _driven(body: Callable[[Shutdown], Awaitable[_T]], reload: Callable[[], None] | None) -> _T:
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    terminals = [stream for stream in _STREAMS if os.isatty(stream)]
    given_up = False

    def heard() -> None:
        nonlocal given_up
        if shutdown.requested:
            given_up = True
            task.cancel()
        shutdown.request()

    def hung_up() -> None:  # a shell passes on what the kernel said already: the second means nothing more
        if silence_lost(terminals) or reload is None:
            shutdown.request()
        else:
            reload()

    for number in _ENDS:
        loop.add_signal_handler(number, heard)
    loop.add_signal_handler(signal.SIGHUP, hung_up)
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
        for number in (*_ENDS, signal.SIGHUP):
            loop.remove_signal_handler(number)


def silence_lost(terminals: Sequence[int]) -> bool:
    """Return whether the terminal of one of these open files is gone; such a file then takes what is written."""
    lost = [terminal for terminal in terminals if not os.isatty(terminal)]
    if lost:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for terminal in lost:
            os.dup2(nowhere, terminal)
        os.close(nowhere)
    return bool(lost)


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
