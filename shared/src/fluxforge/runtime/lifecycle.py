"""Lifecycle: how a service process starts, drains and ends. The exit code says what a supervisor should do.

0: ended in order. 2: usage or configuration is wrong, starting again will not help. 1: anything else; start again.
Whatever ends a process early is reported by exactly one error line.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from enum import IntEnum
from typing import Final

import structlog

from fluxforge.domain.errors import FluxForgeError, UsageError
from fluxforge.runtime.logs import configure

DRAIN_DEADLINE_S: Final = 60.0
_STDIN: Final = 0
_READ_BYTES: Final = 4096


class ExitCode(IntEnum):
    """What the end of a process tells its supervisor."""

    DONE = 0
    FAILED = 1
    USAGE = 2


class Shutdown:
    """The wish that a service ends: asked for once, by a signal, by the parent's pipe or by the service itself.

    `on_request` is called when it is asked for, before anybody who waits goes on.
    """

    def __init__(self, on_request: Callable[[], None] | None = None) -> None:
        self._event = asyncio.Event()
        self._on_request = on_request

    @property
    def requested(self) -> bool:
        """Whether the service should drain and end."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return once the end was asked for."""
        await self._event.wait()

    def request(self) -> None:
        """Ask for the end; asking again changes nothing. Call it on the event loop's thread."""
        if not self._event.is_set() and self._on_request:
            self._on_request()
        self._event.set()


def run(
    service: str,
    body: Callable[[Shutdown], Awaitable[None]],
    *,
    parent_pipe: bool = False,
    drain_deadline_s: float = DRAIN_DEADLINE_S,
) -> int:
    """Run a service to its end and return its exit code.

    SIGTERM and SIGINT ask for a drain, with `parent_pipe` the end of stdin too. A body that has not returned
    `drain_deadline_s` after that is given up: the process ends at once with 1, whatever it waits for.
    """
    # A thread, not the loop: it must fire even while the loop is blocked or waits for an executor to end.
    deadline = threading.Timer(drain_deadline_s, _give_up, args=(service, drain_deadline_s))
    deadline.daemon = True
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_supervised(body, deadline, parent_pipe=parent_pipe))
    except BaseExceptionGroup as group:
        return _report_group(service, group)
    except Exception as error:  # noqa: BLE001 - the one place where a process learns why it ends
        return report(service, error)
    finally:
        deadline.cancel()
    return ExitCode.DONE


def report(service: str, error: Exception) -> int:
    """Write the one line that says why a process ends early and return its exit code."""
    if not structlog.is_configured():
        configure(service, level="INFO", log_format="auto")
    logger = structlog.get_logger()
    if isinstance(error, UsageError):
        logger.error("service.refused", error=str(error), kind=type(error).__name__)
        return ExitCode.USAGE
    if isinstance(error, FluxForgeError):
        logger.error("service.failed", error=str(error), kind=type(error).__name__)
        return ExitCode.FAILED
    logger.error("service.crashed", error=f"{type(error).__name__}: {error}", exc_info=error)
    return ExitCode.FAILED


def _report_group(service: str, group: BaseExceptionGroup[BaseException]) -> int:
    leaves = [leaf for leaf in _leaves(group) if isinstance(leaf, Exception)]
    usage = next((leaf for leaf in leaves if isinstance(leaf, UsageError)), None)
    crash = next((leaf for leaf in leaves if not isinstance(leaf, FluxForgeError)), None)
    return report(service, usage or crash or leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - a service may be installed without it
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _supervised(
    body: Callable[[Shutdown], Awaitable[None]], deadline: threading.Timer, *, parent_pipe: bool
) -> None:
    shutdown = Shutdown(deadline.start)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.request)
    if parent_pipe:
        threading.Thread(target=_watch_stdin, args=(loop, shutdown), daemon=True, name="parent-pipe").start()
    try:
        await body(shutdown)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _give_up(service: str, drain_deadline_s: float) -> None:
    structlog.get_logger().error("service.drain_timed_out", service=service, deadline_s=drain_deadline_s)
    sys.stderr.flush()
    os._exit(ExitCode.FAILED)


def _watch_stdin(loop: asyncio.AbstractEventLoop, shutdown: Shutdown) -> None:
    # os.read, not sys.stdin: a reader blocked in a buffered file would stop the interpreter from ending.
    while os.read(_STDIN, _READ_BYTES):
        pass
    try:
        loop.call_soon_threadsafe(shutdown.request)
    except RuntimeError:
        return  # the loop is closed: the service has ended already
