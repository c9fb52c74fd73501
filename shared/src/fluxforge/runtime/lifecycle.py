"""Lifecycle: how a service process starts, drains and ends. The exit code says what a supervisor should do.

0: ended in order. 2: usage or configuration is wrong, starting again will not help. 1: anything else; start again.
Whatever ends a process early is reported by exactly one error line, and no process outlives the end it was asked for
or a failure it knows of: a thread ends it.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final, NoReturn, TypeVar

import structlog

from fluxforge.domain.errors import FluxForgeError, UsageError
from fluxforge.runtime.logs import configure

_T = TypeVar("_T")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_STDIN: Final = 0
_READ_BYTES: Final = 4096
_LEAVE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a drain may take: after `soft_s` the service leaves the rest and goes, after `hard_s` it is ended."""

    soft_s: float
    hard_s: float


DRAIN_DEADLINE_S: Final = 60.0
ON_SIGNAL: Final = Deadlines(7.0, 9.5)
"""Container engines kill 10 s after SIGTERM. Leaving a bus that does not answer takes a second, its lease another."""
ON_PIPE_END: Final = Deadlines(DRAIN_DEADLINE_S - 2.0, DRAIN_DEADLINE_S)
FAILURE_S: Final = 10.0


class ExitCode(IntEnum):
    """What the end of a process tells its supervisor."""

    DONE = 0
    FAILED = 1
    USAGE = 2


class Shutdown:
    """The wish that a service ends: asked for once, by a signal, by the parent's pipe or by the service itself.

    `on_request` is called when it is asked for, before anybody who waits goes on; `on_failure` with the first failure.
    """

    def __init__(
        self,
        on_request: Callable[[], None] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self._event = asyncio.Event()
        self._hurry = asyncio.Event()
        self._on_request = on_request
        self._on_failure = on_failure

    @property
    def requested(self) -> bool:
        """Whether the service should drain and end."""
        return self._event.is_set()

    @property
    def hurried(self) -> bool:
        """Whether the drain's time is over: what is not done is left where the next start finds it."""
        return self._hurry.is_set()

    async def wait(self) -> None:
        """Return once the end was asked for."""
        await self._event.wait()

    def request(self) -> None:
        """Ask for the end; asking again changes nothing. Call it on the event loop's thread."""
        if not self._event.is_set() and self._on_request:
            self._on_request()
        self._event.set()

    def hurry(self) -> None:
        """Say that the drain's time is over."""
        self.request()
        self._hurry.set()

    async def unless_hurried(self, work: Awaitable[object]) -> bool:
        """Wait for work to be done and return true, or cancel it when the drain's time is over and return false."""
        return (await _unless(self._hurry, work))[0]

    async def unless_requested(self, work: Awaitable[_T]) -> _T | None:
        """Return what work returns, or None when the end is asked for first: it is then cancelled."""
        return (await _unless(self._event, work))[1]

    def fail(self, error: Exception) -> None:
        """Make known what ends the service; the process then ends soon, whoever holds it up. The first reason stands.

        Call it on the event loop's thread.
        """
        if self._on_failure:
            self._on_failure(error)

    async def watched(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return what work returns, and make its failure known as the service's before anybody reacts to it."""
        try:
            return await work()
        except Exception as error:
            self.fail(error)
            raise


async def _unless(event: asyncio.Event, work: Awaitable[_T]) -> tuple[bool, _T | None]:
    """Return whether work was done before the event, and what it returned; cancel it if not."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        is_done = working.done()
        if not is_done:
            working.cancel()
            await asyncio.wait([working], timeout=_LEAVE_S)  # a cancellation may be swallowed
    except asyncio.CancelledError:
        working.cancel()
        await asyncio.wait([working])
        raise
    finally:
        waiting.cancel()
    return is_done, working.result() if working.done() and not working.cancelled() else None


class _End:
    """The end of this process, brought about from threads: they act while the loop is blocked or waits for one, too."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._timers: list[threading.Timer] = []
        self._word = threading.Lock()
        self._failure: Exception | None = None

    def after(self, deadline_s: float) -> None:
        """End the process after so long, in whatever state it then is; the earliest of several deadlines counts."""
        timer = threading.Timer(deadline_s, self._enforce, args=(deadline_s,))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def failed(self, error: Exception) -> None:
        """Take note of why the service ends; it has 10 s left."""
        if self._failure is None:
            self._failure = error
            self.after(FAILURE_S)

    def at_once(self) -> None:
        """End the process without waiting for threads that are still at work."""
        if self._word.acquire(blocking=False):
            _exit(report(self._service, self._failure) if self._failure else ExitCode.DONE)

    def conclude(self, error: Exception | None = None) -> int:
        """Call the deadlines off; report the error, unless that was done meanwhile, and return the exit code."""
        for timer in self._timers:
            timer.cancel()
        with self._word:  # held on by a deadline that fired: it is ending the process
            return ExitCode.DONE if error is None else report(self._service, error)

    def _enforce(self, deadline_s: float) -> None:
        if not self._word.acquire(blocking=False):
            return
        if self._failure is not None:
            _exit(report(self._service, self._failure))
        structlog.get_logger().error("service.drain_timed_out", service=self._service, deadline_s=deadline_s)
        _exit(ExitCode.FAILED)


def run(
    service: str,
    body: Callable[[Shutdown], Awaitable[None]],
    *,
    parent_pipe: bool = False,
    on_signal: Deadlines = ON_SIGNAL,
    on_pipe_end: Deadlines = ON_PIPE_END,
) -> int:
    """Run a service to its end and return its exit code.

    SIGTERM and SIGINT ask for a drain, with `parent_pipe` the end of stdin too. What is not drained by the soft
    deadline is left, and threads that are still at work then are not waited for. The hard deadline, or 10 s after a
    failure became known, end the process with 1, whatever it waits for. Afterwards both signals are ignored.
    """
    end = _End(service)
    failure = None
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_supervised(body, end, on_signal, on_pipe_end, parent_pipe=parent_pipe))
    except Exception as error:  # noqa: BLE001 - the one place where a process learns why it ends
        failure = error
    for number in _SIGNALS:  # a process that ends anyway is not killed: it would say so with another exit code
        signal.signal(number, signal.SIG_IGN)
    return end.conclude(failure)


def report(service: str, error: Exception) -> int:
    """Write the one line that says why a process ends early and return its exit code."""
    if not structlog.is_configured():
        configure(service, level="INFO", log_format="auto")
    logger = structlog.get_logger()
    cause = _cause(error)
    if isinstance(cause, UsageError):
        logger.error("service.refused", error=str(cause), kind=type(cause).__name__)
        return ExitCode.USAGE
    if isinstance(cause, FluxForgeError):
        logger.error("service.failed", error=str(cause), kind=type(cause).__name__)
        return ExitCode.FAILED
    logger.error("service.crashed", error=f"{type(cause).__name__}: {cause}", exc_info=cause)
    return ExitCode.FAILED


def _cause(error: Exception) -> Exception:
    """Return what tells most of a group: wrong usage first, then a crash."""
    leaves = [leaf for leaf in _leaves(error) if isinstance(leaf, Exception)]
    usage = next((leaf for leaf in leaves if isinstance(leaf, UsageError)), None)
    crash = next((leaf for leaf in leaves if not isinstance(leaf, FluxForgeError)), None)
    return usage or crash or leaves[0]


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
    body: Callable[[Shutdown], Awaitable[None]],
    end: _End,
    on_signal: Deadlines,
    on_pipe_end: Deadlines,
    *,
    parent_pipe: bool,
) -> None:
    loop = asyncio.get_running_loop()

    def allow(deadlines: Deadlines) -> None:
        loop.call_later(deadlines.soft_s, shutdown.hurry)
        end.after(deadlines.hard_s)

    def signalled() -> None:
        if not heard:
            heard.append(True)
            allow(on_signal)
            shutdown.request()

    heard: list[bool] = []
    shutdown = Shutdown(lambda: allow(on_pipe_end), end.failed)
    for number in _SIGNALS:  # the loop removes them when it is closed, behind its last threads
        loop.add_signal_handler(number, signalled)
    if parent_pipe:
        threading.Thread(target=_watch_stdin, args=(loop, shutdown), daemon=True, name="parent-pipe").start()
    try:
        await shutdown.watched(partial(body, shutdown))
    finally:
        if shutdown.hurried:
            end.at_once()


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch_stdin(loop: asyncio.AbstractEventLoop, shutdown: Shutdown) -> None:
    # os.read, not sys.stdin: a reader blocked in a buffered file would stop the interpreter from ending.
    while os.read(_STDIN, _READ_BYTES):
        pass
    try:
        loop.call_soon_threadsafe(shutdown.request)
    except RuntimeError:
        return  # the loop is closed: the service has ended already
