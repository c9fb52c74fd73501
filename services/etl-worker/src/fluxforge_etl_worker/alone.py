"""Alone: one segment worked on in a process that does nothing else, so that what it breaks condemns nobody else.

Kept: a process that somebody ended from outside condemns nothing. It ignores the signals of a drain, ends when its
parent does, and its death counts only once the parent has outlived it. Where it died over the data of an earlier
segment, read for its tail, that one's tail is given up, and the segment at hand is tried again without.
"""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Final

from fluxforge.domain.errors import (
    ConfigurationError,
    FatalError,
    FluxForgeError,
    ObjectNotFoundError,
    PermanentError,
    TransientError,
)
from fluxforge.domain.lane import Lane
from fluxforge_etl_worker.work import Outcome, Worker

# Whoever kills a whole service kills parent and child, in any order: the parent must live on for this long.
_OUTLIVED_S: Final = 2.0
EXPECTED: Final = (TransientError, PermanentError, ConfigurationError, FatalError, ObjectNotFoundError)
"""Errors that say themselves what to do. Any other would end every worker that takes the segment."""
_FROM_OUTSIDE: Final = frozenset({-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})


class DiedAloneError(PermanentError):
    """A segment that ended, by itself, the process that worked on nothing else."""

    def __init__(self, segment: str, how: str) -> None:
        super().__init__(f"{segment} ended the process that worked on it alone: {how}")
        self.segment = segment
        self.how = how


class ProcessUnavailableError(TransientError):
    """A process could not be started, or was not ended by its own segment, of which nothing is known yet."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the child says on its way: whose data it reads for the sake of its own segment; None: no more."""

    segment: str | None


def process_alone(worker: Worker, lane: Lane, segment: str) -> Outcome:
    """Do what `worker.process` does, in a process of its own.

    Raises:
        DiedAloneError: The process died by itself.
        ProcessUnavailableError: It could not be started, somebody ended it, or another segment did.
    """
    context = multiprocessing.get_context("spawn")  # Arrow's threads do not survive a fork
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, worker, lane, segment), name=f"alone-{segment}")
    try:
        child.start()
    except OSError as error:
        raise ProcessUnavailableError(f"no process for {lane} {segment} alone: {error}") from error
    theirs.close()
    reading: str | None = None
    with ours:
        try:
            while isinstance(result := ours.recv(), _Reading):
                reading = result.segment
        except EOFError:
            child.join()
            result = _death(f"{lane} {segment}", child.exitcode)
    child.join()
    if isinstance(result, DiedAloneError):  # what was read would kill whoever reads it for its tail
        worker.mark_tail_dead(lane, reading or segment, result)
        if reading is not None:
            raise ProcessUnavailableError(
                f"{lane} {segment} is tried again without the tail of {reading}: {result.how}"
            )
    if isinstance(result, FluxForgeError):
        raise result
    outcome: Outcome = result
    return outcome


def _death(segment: str, exitcode: int | None) -> DiedAloneError | ProcessUnavailableError:
    if exitcode in _FROM_OUTSIDE:
        return ProcessUnavailableError(f"the process that worked on {segment} alone was ended by a signal")
    threading.Event().wait(_OUTLIVED_S)
    if exitcode is not None and exitcode < 0:
        return DiedAloneError(segment, f"killed: {signal.strsignal(-exitcode)}")
    return DiedAloneError(segment, f"exit code {exitcode}")


def _work(result: Connection, worker: Worker, lane: Lane, segment: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a drain waits for us; who wants an end ends our parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    watched = replace(worker, reading=lambda segment: result.send(_Reading(segment)))
    with suppress(BrokenPipeError):  # the parent was killed: nobody is left to tell
        result.send(_outcome(watched, lane, segment))


def _outcome(worker: Worker, lane: Lane, segment: str) -> Outcome | FluxForgeError:
    try:
        return worker.process(lane, segment)
    except EXPECTED as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is, it would end every worker that takes this segment
        return DiedAloneError(f"{lane} {segment}", f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
